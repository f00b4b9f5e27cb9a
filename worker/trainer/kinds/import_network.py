"""The check of an uploaded network: read, tried on a few real images, and kept as a model.

A trainer does it, as it takes torch and the images of a data set, whatever that is.
"""

import contextlib
import resource
import shutil
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from statistics import fmean

import torch
from torch import nn

from ddcal_core.errors import InvalidDataError
from ddcal_core.formats.foreign_networks import (
    OnnxNetwork,
    foreign_model,
    foreign_module,
)
from ddcal_core.formats.imported_networks import ImportedNetwork, NetworkReading
from ddcal_core.formats.manifests import DescribedSpace, ModelConfig, ModelProvenance, Split
from ddcal_core.formats.models import GRAPH_FILE, MODEL_FILE
from ddcal_core.formats.onnx_checks import fixed_shape, inspect_onnx, read_onnx
from ddcal_core.formats.records import write_json
from ddcal_core.formats.tensor_files import read_tensors
from ddcal_core.progress import Progress
from ddcal_core.specs.facts import DatasetFacts
from ddcal_core.specs.foreign_networks import (
    TORCHVISION_SIDES,
    AnyNetwork,
    NetworkOptions,
    NetworkSpace,
    is_onnx,
)
from ddcal_core.specs.networks import NetworkSpec
from ddcal_core.specs.spaces import StandardSpace
from worker.trainer.inputs import DatasetInput, Input, SetInput, Task, parse_json
from worker.trainer.network_trial import asked, try_network
from worker.trainer.outputs import Output, made_with

PHASE = "try the network"
MAX_RUN_BYTES = 6 << 30
"""Address space that reading and trying a network may take, beyond what the process has."""
_UNKNOWN_IMAGES = (
    "Nobody here knows which images it was trained on: where the validation images are among them, "
    "what is fitted to these is flattered."
)

READS_WORDS: Mapping[NetworkSpace, str] = {
    "pixels": "network input: pixel / 255, in [0, 1]; 0 is black",
    "standardised": (
        "network input: (pixel / 255 - mean) / std of `imported`, channel by channel; 0 is the "
        "mean colour"
    ),
}
"""What a file of such a network reads; the mean and std beside it are those of the data set."""


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
    tried = try_network(foreign_model(module, reading, facts), facts, split, dataset)
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
    described = DescribedSpace.of(space, facts).model_copy(
        update={"space": READS_WORDS[reading.declared_space]}
    )
    return ModelConfig(**dict(provenance), **dict(described)), path


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
    return asked(partial(OnnxNetwork, path, batch)), reading, found.opset


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
