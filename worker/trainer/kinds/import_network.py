"""The check of an uploaded network: read, tried on a few real images, and kept as a model.

A trainer does it, as it takes torch and the images of a data set, whatever that is.
"""

import contextlib
import resource
import shutil
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from statistics import fmean
from typing import NamedTuple, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from ddcal_core.data.input_space import Standard
from ddcal_core.errors import InvalidDataError
from ddcal_core.formats.foreign_networks import (
    ForeignAnswers,
    ForeignModel,
    OnnxNetwork,
    foreign_model,
    foreign_module,
    in_parts,
)
from ddcal_core.formats.imported_networks import ImportedNetwork, NetworkReading
from ddcal_core.formats.manifests import DescribedSpace, ModelConfig, ModelProvenance, Split
from ddcal_core.formats.models import GRAPH_FILE, MODEL_FILE
from ddcal_core.formats.onnx_checks import fixed_shape, inspect_onnx, read_onnx
from ddcal_core.formats.records import write_json
from ddcal_core.formats.tensor_files import read_tensors
from ddcal_core.intake.logits_notes import LabelTally, disagreement
from ddcal_core.metrics import accuracy
from ddcal_core.progress import Progress
from ddcal_core.seeding import seeded_generator
from ddcal_core.specs.facts import DatasetFacts
from ddcal_core.specs.foreign_networks import (
    TORCHVISION_SIDES,
    AnyNetwork,
    NetworkOptions,
    is_onnx,
)
from ddcal_core.specs.networks import NetworkSpec
from ddcal_core.specs.spaces import StandardSpace
from ddcal_core.training.train import predict_logits
from worker.trainer.inputs import DatasetInput, Input, SetInput, Task, parse_json
from worker.trainer.loading import as_examples, cut, load_train_images
from worker.trainer.outputs import Output, made_with

AnswerT = TypeVar("AnswerT")
PHASE = "try the network"
MAX_RUN_BYTES = 6 << 30
"""Address space that reading and trying a network may take, beyond what the process has."""
MAX_TRIED, MAX_TRIED_LARGE = 256, 64
_LARGE = 3 * 128 * 128  # numbers of an image to a network that takes its time
_N_TOGETHER, _N_ALONE = 8, 3
_SAME = 1e-3  # of the largest number: what another order of sums may make of an answer
_SUM_TOLERANCE = 1e-2
_UNKNOWN_IMAGES = (
    "Nobody here knows which images it was trained on: where the validation images are among them, "
    "what is fitted to these is flattered."
)


class NetworkInput(Input):
    """An upload of a network, and what it is said to be for.

    Attributes:
        upload_path: the file.
        sha256: of it.
        options: what the sender says of it.
        dataset: whose images it is for; its test images are not asked for.
        distilled_set: that it was trained on, where it was one of this service's.
    """

    upload_path: Path
    sha256: str
    options: NetworkOptions
    dataset: DatasetInput
    distilled_set: SetInput | None = None


class _Trial(NamedTuple):
    """What a network has made of a few validation images.

    Attributes:
        n: images.
        accuracy: in [0, 1].
        notes: what is odd about its answers, a sentence each.
    """

    n: int
    accuracy: float
    notes: tuple[str, ...]


def run(task: Task) -> list[Output]:
    """Take a network in; one model comes out.

    Raises:
        InvalidDataError: it cannot be used; says what was wanted and what was got.
    """
    inputs = parse_json(NetworkInput, task.inputs)
    task.on_progress(Progress(phase=PHASE, step=0, steps=2))
    with _limited_memory():
        config, path = _taken_in(inputs, task)
    assert config.imported is not None
    for note in config.imported.notes:
        task.on_note("imported_network", note)
    said = task.folder / "config.json"
    write_json(said, config.as_json())
    task.on_progress(Progress(phase=PHASE, step=2, steps=2))
    return [Output("model", "model", config.as_json(), (path, said))]


@contextlib.contextmanager
def _limited_memory() -> Iterator[None]:
    """Have allocations fail beyond a limit, before the machine has none left for others.

    Raises:
        InvalidDataError: one has.
    """
    held = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    before, most = resource.getrlimit(resource.RLIMIT_AS)
    wanted = held + MAX_RUN_BYTES
    limit = wanted if before == resource.RLIM_INFINITY else min(wanted, before)
    resource.setrlimit(resource.RLIMIT_AS, (limit, most))
    try:
        yield
    except MemoryError as error:
        raise InvalidDataError(
            f"wanted a network that takes at most {MAX_RUN_BYTES >> 30} GiB to read and to ask; "
            "this one takes more"
        ) from error
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (before, most))


def _taken_in(inputs: NetworkInput, task: Task) -> tuple[ModelConfig, Path]:
    facts, split, dataset = _data_of(inputs)
    network = inputs.options.network()
    path = task.folder / (GRAPH_FILE if is_onnx(network) else MODEL_FILE)
    shutil.copyfile(inputs.upload_path, path)
    module, reading, opset = _read(path, network, inputs.options, facts)
    task.on_progress(Progress(phase=PHASE, step=1, steps=2))
    space = StandardSpace(name="standard")
    if inputs.distilled_set is None:
        facts = facts.model_copy(update=_space_of(reading, facts))
    tried = _try(foreign_model(module, reading, facts), facts, split, dataset)
    imported = ImportedNetwork(
        **dict(reading),
        file_format="onnx" if is_onnx(network) else "safetensors",
        sha256=inputs.sha256,
        opset=opset,
        n_tried=tried.n,
        tried_accuracy=tried.accuracy,
        notes=(*tried.notes, *(() if inputs.distilled_set else (_UNKNOWN_IMAGES,))),
    )
    provenance = _provenance(inputs, split, network, imported)
    return ModelConfig(**dict(provenance), **dict(DescribedSpace.of(space, facts))), path


def _data_of(inputs: NetworkInput) -> tuple[DatasetFacts, Split, DatasetInput]:
    """Facts, cut and images of the classes that the network tells apart.

    Raises:
        InvalidDataError: the set that it was trained on is whitened.
    """
    dataset, distilled = inputs.dataset, inputs.distilled_set
    if distilled is None:
        own = dataset.facts.n_own_validation
        split = Split(dataset=dataset.name, seed=0, n_validation=None, n_own_validation=own)
        return dataset.facts, split, dataset
    manifest = distilled.manifest
    if not isinstance(manifest.input_space, StandardSpace):
        raise InvalidDataError(
            "distilled_set: wanted one in the standard space, from which images for a network made "
            f"elsewhere are made; got {manifest.input_space.name}"
        )
    return manifest.facts, manifest.split, dataset.of_classes(manifest.split.classes)


def _space_of(reading: NetworkReading, facts: DatasetFacts) -> dict[str, tuple[float, ...]]:
    """Mean and std of the space that images come in: the network's, of grey ones their mean."""
    if reading.input_shape[0] == facts.image_shape[0]:
        return {"mean": reading.mean, "std": reading.std}
    return {"mean": (fmean(reading.mean),), "std": (fmean(reading.std),)}


def _read(
    path: Path, network: AnyNetwork, options: NetworkOptions, facts: DatasetFacts
) -> tuple[nn.Module, NetworkReading, int | None]:
    """The network, how it is read, and the opset of a graph."""
    n_channels, height, width = facts.image_shape
    if isinstance(network, NetworkSpec):
        shape = (n_channels, options.side or height, options.side or width)
    elif network.network == "onnx":
        return _read_graph(path, options, facts)
    else:
        side = TORCHVISION_SIDES[network.network] or options.side
        shape = (3, side or height, side or width)
    try:
        module = foreign_module(read_tensors(path), network, shape, facts)
    except ValueError as error:  # such as images that are too small for it
        raise InvalidDataError(str(error)) from error
    return module, _reading(options, facts, shape, None), None


def _read_graph(
    path: Path, options: NetworkOptions, facts: DatasetFacts
) -> tuple[nn.Module, NetworkReading, int]:
    found = inspect_onnx(read_onnx(path.read_bytes()))
    shape, batch = fixed_shape(
        found, layout=options.layout, side=options.side, image_shape=facts.image_shape
    )
    if found.n_outputs not in (None, facts.n_classes):
        raise InvalidDataError(
            f"wanted {facts.n_classes} outputs, one a class of the data set; got {found.n_outputs}"
        )
    reading = _reading(options, facts, shape, batch)
    return _asked(partial(OnnxNetwork, path, batch)), reading, found.opset


def _asked(ask: Callable[[], AnswerT]) -> AnswerT:
    """What ONNX Runtime gives.

    Raises:
        InvalidDataError: it gives nothing, and says why.
    """
    try:
        return ask()
    except MemoryError:
        raise
    except Exception as error:  # its errors have no other class in common
        words = " ".join(str(error).split())
        if "bad_alloc" in words or "Failed to allocate memory" in words:
            raise MemoryError(words) from error
        raise InvalidDataError(f"ONNX Runtime cannot run it: {words[:300]}") from error


def _reading(
    options: NetworkOptions,
    facts: DatasetFacts,
    shape: tuple[int, int, int],
    batch: int | None,
) -> NetworkReading:
    numbers = {"mean": (0.0,) * shape[0], "std": (1.0,) * shape[0]}
    if options.space == "standardised":
        numbers = {name: _numbers(name, options, facts, shape[0]) for name in numbers}
    return NetworkReading(
        declared_space=options.space,
        input_shape=shape,
        layout=options.layout,
        outputs=options.outputs,
        columns=_columns(options.class_order, facts),
        batch=batch,
        **numbers,
    )


def _numbers(
    name: str, options: NetworkOptions, facts: DatasetFacts, n_channels: int
) -> tuple[float, ...]:
    """Mean or std of each channel that the network reads: the sender's, or the data's own."""
    given = getattr(options, name)
    numbers = getattr(facts, name) if given is None else tuple(given)
    if len(numbers) not in (1, n_channels):
        raise InvalidDataError(
            f"{name}: wanted {n_channels} numbers, one a channel of the network's input; got "
            f"{len(numbers)}"
        )
    if name == "std" and min(numbers) <= 0:
        raise InvalidDataError(f"std: wanted numbers above 0; got {min(numbers):g}")
    return numbers if len(numbers) == n_channels else numbers * n_channels


def _columns(class_order: list[str] | None, facts: DatasetFacts) -> tuple[int, ...] | None:
    """Of each label its place among the outputs; None where they are in the labels' order."""
    if class_order is None or tuple(class_order) == facts.class_names:
        return None
    if sorted(class_order) != sorted(facts.class_names):
        wrong = [name for name in class_order if name not in facts.class_names]
        lacking = [name for name in facts.class_names if name not in class_order]
        got = f"{wrong[0]!r}" if wrong else f"none of {lacking[0]!r}" if lacking else "one twice"
        raise InvalidDataError(
            f"class_order: wanted the {facts.n_classes} classes of the data set, each once; got "
            f"{got}"
        )
    return tuple(class_order.index(name) for name in facts.class_names)


def _try(model: ForeignModel, facts: DatasetFacts, split: Split, dataset: DatasetInput) -> _Trial:
    """Ask a network of a few validation images, together and alone.

    Raises:
        InvalidDataError: its answers are no logits of these classes, or depend on what it is asked
            beside them.
    """
    data = load_train_images(dataset)
    training, validation = cut(data, split, facts.n_classes)
    places = validation if len(validation) else training
    most = MAX_TRIED_LARGE if torch.Size(model.reading.input_shape).numel() >= _LARGE else MAX_TRIED
    drawn = torch.randperm(len(places), generator=seeded_generator(0, "try"))[:most]
    examples = as_examples(data, places[drawn], Standard(facts), torch.device("cpu"))
    answers, few = ForeignAnswers(model), examples.images[:_N_TOGETHER]
    with torch.no_grad():
        together = _asked(partial(answers, few))
        _check_answers(together, model.reading, facts, len(few))
        for k in range(min(_N_ALONE, len(few))):
            one = slice(k, k + 1)
            _check_alone(_asked(partial(answers, few[one])), together[one])
        asked = in_parts(model)
        logits = _asked(partial(predict_logits, asked, examples.images))
    if not bool(logits.isfinite().all()):
        raise InvalidDataError("wanted finite answers; got NaN or infinities for some images")
    right = accuracy(logits, examples.labels)
    return _Trial(len(logits), right, _odd(logits, examples.labels, facts))


def _check_answers(
    answers: Tensor, reading: NetworkReading, facts: DatasetFacts, n_images: int
) -> None:
    wanted = (n_images, facts.n_classes)
    if answers.shape != wanted:
        raise InvalidDataError(
            f"wanted answers {wanted}, a number for each of the data set's classes; got "
            f"{tuple(answers.shape)}"
        )
    if not bool(answers.isfinite().all()):
        raise InvalidDataError("wanted finite answers; got NaN or infinities")
    sums = answers.sum(1)
    are_probabilities = bool((answers >= 0).all() and ((sums - 1).abs() < _SUM_TOLERANCE).all())
    if reading.outputs == "probabilities" and not are_probabilities:
        raise InvalidDataError(
            "wanted probabilities, none below 0 and each row adding up to 1; got numbers from "
            f"{float(answers.min()):.3g} to {float(answers.max()):.3g} and sums from "
            f"{float(sums.min()):.3g} to {float(sums.max()):.3g} (outputs=logits?)"
        )
    if reading.outputs == "logits" and are_probabilities:
        raise InvalidDataError(
            "wanted logits; the answers look like probabilities, each row adding up to 1 "
            "(outputs=probabilities)"
        )


def _check_alone(alone: Tensor, together: Tensor) -> None:
    far = float((alone - together).abs().max())
    if not far <= _SAME * max(1.0, float(together.abs().max())):
        raise InvalidDataError(
            "wanted the same answers for an image alone and among others; they differ by "
            f"{far:.3g}: export the network in evaluation mode (batch norm, dropout)"
        )


def _odd(logits: Tensor, labels: Tensor, facts: DatasetFacts) -> tuple[str, ...]:
    """What is odd about answers, in words that say what to do about it."""
    if bool((logits == logits[0]).all()):
        return ("It answers the same for every image: is what it reads declared as it is?",)
    tally = LabelTally(facts.n_classes)
    tally.add(logits.numpy(), labels.numpy())
    found = disagreement(tally)
    if found is None:
        return ()
    others = tally.predicted * (1 - np.eye(facts.n_classes, dtype=np.int64))
    label, column = divmod(int(others.argmax()), facts.n_classes)
    return (
        f"On {len(labels):,} validation images its largest answer is the label's in "
        f"{100 * found.accuracy:.1f} %, {'far below' if found.is_far_below else 'no better than'} "
        f"the {100 * found.guessing:.1f} % of guessing: its outputs are probably in another order "
        f"than the classes (class_order). Images of {facts.class_names[label]!r} get most of their "
        f"largest answers in the place of {facts.class_names[column]!r}.",
    )


def _provenance(
    inputs: NetworkInput, split: Split, network: AnyNetwork, imported: ImportedNetwork
) -> ModelProvenance:
    distilled = inputs.distilled_set
    return ModelProvenance(
        dataset=inputs.dataset.name,
        training_set="unknown" if distilled is None else "distilled",
        distilled_set_id=None if distilled is None else distilled.id,
        images_per_class=None if distilled is None else distilled.manifest.images_per_class,
        split=split,
        seed=0,
        seed_index=0,
        network=network,
        train=None,
        lr_is_learned=False,
        has_soft_labels=False,
        n_train=None,
        train_accuracy=None,
        seconds=0.0,
        made_with=made_with(torch.device("cpu")),
        imported=imported,
    )
