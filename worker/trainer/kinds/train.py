"""`train`: `n_seeds` networks on a distilled set, on a few real images, or on the real data."""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import assert_never

import torch

from ddcal_core.data.input_space import InputSpace
from ddcal_core.errors import InvalidDataError
from ddcal_core.formats.calibrations import TrainingSource
from ddcal_core.formats.manifests import ModelProvenance, Split
from ddcal_core.formats.models import model_files, write_model
from ddcal_core.formats.records import Record
from ddcal_core.metrics import accuracy
from ddcal_core.networks import build_network
from ddcal_core.seeding import seeded_generator
from ddcal_core.specs.kinds.train import TrainParams
from ddcal_core.specs.networks import network_spec
from ddcal_core.specs.training import (
    DistilledTrainingSet,
    FullTrainingSet,
    HerdingFeatures,
    HerdingTrainingSet,
    RandomTrainingSet,
    TaughtTrainingSet,
    Teacher,
)
from ddcal_core.training.herding import herded_subset, herding_features
from ddcal_core.training.teaching import soft_labels, train_teacher
from ddcal_core.training.train import predict_logits, train_network
from worker.trainer.inputs import SetInput, Task, parse_json
from worker.trainer.loading import (
    Examples,
    RandomDraw,
    load_distilled_set,
    random_index,
    space_of_set,
    without_information,
)
from worker.trainer.outputs import Output, made_with
from worker.trainer.real_images import RealImages, open_real_images


class _TrainingImages(Record):
    """What a model's config says of the images trained on, by the names it has there."""

    dataset: str
    training_set: TrainingSource
    split: Split
    distilled_set_id: str | None = None
    images_per_class: int | None = None
    n_real_images: int | None = None
    real_class_counts: tuple[int, ...] | None = None
    herding: HerdingFeatures | None = None
    herded_index: tuple[int, ...] | None = None
    teacher: Teacher | None = None


@dataclass(frozen=True)
class _Source:
    """What the networks of one job learn from.

    Attributes:
        space: what the networks read of pixels, with the facts of the data set behind it.
        images: what each model's config says of them.
        examples_of: a network's place among its seeds -> its training images.
        learned_lr: the learning rate learned with the images; None where none was.
    """

    space: InputSpace
    images: _TrainingImages
    examples_of: Callable[[int], Examples]
    learned_lr: float | None = None


def run(task: Task) -> list[Output]:
    """Train the networks one after the other; one model each comes out."""
    params = parse_json(TrainParams, task.params)
    source = _open_source(params, task)
    return [
        _train_one(seed_index, params, source, task) for seed_index in range(params.train.n_seeds)
    ]


def _train_one(seed_index: int, params: TrainParams, source: _Source, task: Task) -> Output:
    spec, seed = params.train.with_learned_lr(source.learned_lr), params.seed
    examples = without_information(
        source.examples_of(seed_index), spec.drop, seed=seed, seed_index=seed_index
    )
    network = build_network(spec, source.space.facts, seeded_generator(seed, "network", seed_index))
    network.to(task.device)
    started = time.monotonic()
    # Weights and order are drawn apart: what one of them draws changes nothing of the other.
    train_network(
        network,
        examples.images,
        examples.labels if examples.soft_labels is None else examples.soft_labels,
        spec,
        generator=seeded_generator(seed, "order", seed_index),
        on_progress=task.on_progress,
        phase=f"train {source.images.training_set} {seed_index + 1}/{spec.n_seeds}",
    )
    provenance = ModelProvenance(
        **dict(source.images),
        seed=seed,
        seed_index=seed_index,
        network=network_spec(spec.described()),
        train=spec,
        lr_is_learned=params.train.lr is None and spec.lr == source.learned_lr,
        has_soft_labels=examples.soft_labels is not None,
        n_train=len(examples.labels),
        train_accuracy=accuracy(predict_logits(network, examples.images), examples.labels),
        seconds=round(time.monotonic() - started, 3),
        made_with=made_with(task.device),
    )
    folder = task.folder / f"model_{seed_index}"
    folder.mkdir()
    config = write_model(folder, network, space=source.space, provenance=provenance)
    return Output("model", folder.name, config.as_json(), model_files(folder))


def _open_source(params: TrainParams, task: Task) -> _Source:
    match params.training_set:
        case DistilledTrainingSet():
            return _open_distilled(parse_json(SetInput, task.inputs["distilled_set"]), task)
        case RandomTrainingSet(images_per_class=images_per_class):
            return _open_random(images_per_class, params, task)
        case TaughtTrainingSet():
            return _open_taught(params.training_set, params, task)
        case HerdingTrainingSet():
            return _open_herded(params.training_set, params, task)
        case FullTrainingSet(n_images=n_images):
            return _open_full(n_images, params, task)
        case _:
            assert_never(params.training_set)


def _open_distilled(distilled: SetInput, task: Task) -> _Source:
    examples = load_distilled_set(distilled, task.device)
    manifest = distilled.manifest
    images = _TrainingImages(
        dataset=manifest.dataset,
        training_set="distilled",
        distilled_set_id=distilled.id,
        images_per_class=manifest.images_per_class,
        split=manifest.split,
    )
    return _Source(space_of_set(distilled), images, lambda _: examples, manifest.learned_lr)


def _open_random(images_per_class: int, params: TrainParams, task: Task) -> _Source:
    return _drawn_from(open_real_images(params, task), images_per_class, params, task)


def _open_taught(taught: TaughtTrainingSet, params: TrainParams, task: Task) -> _Source:
    """The images of the random source, labelled by one teacher for all networks."""
    real = open_real_images(params, task)
    whole = real.examples(real.train_index, task.device)
    network = train_teacher(
        whole.images,
        whole.labels,
        taught.teacher,
        params.train,
        real.facts,
        seed=params.seed,
        on_progress=task.on_progress,
    )
    drawn = _drawn_from(real, taught.images_per_class, params, task)

    def examples_of(seed_index: int) -> Examples:
        examples = drawn.examples_of(seed_index)
        soft = soft_labels(network, examples.images, taught.teacher.temperature)
        return replace(examples, soft_labels=soft)

    told = {"training_set": "taught", "teacher": taught.teacher}
    return replace(drawn, images=drawn.images.model_copy(update=told), examples_of=examples_of)


def _drawn_from(
    real: RealImages, images_per_class: int, params: TrainParams, task: Task
) -> _Source:
    def examples_of(seed_index: int) -> Examples:
        draw = RandomDraw(
            images_per_class=images_per_class, seed=params.seed, seed_index=seed_index
        )
        index = random_index(real.data, real.train_index, real.facts.n_classes, draw)
        return real.examples(index, task.device)

    images = _TrainingImages(
        dataset=real.split.dataset,
        training_set="random",
        images_per_class=images_per_class,
        split=real.split,
        n_real_images=len(real.train_index),
        real_class_counts=real.class_counts(),
    )
    return _Source(real.space, images, examples_of)


def _open_herded(herding: HerdingTrainingSet, params: TrainParams, task: Task) -> _Source:
    real = open_real_images(params, task)
    whole = real.examples(real.train_index, task.device)
    features = herding_features(
        whole.images,
        whole.labels,
        herding.features,
        real.facts,
        seed=params.seed,
        on_progress=task.on_progress,
    )
    n_classes, wanted = real.facts.n_classes, herding.images_per_class
    index = real.train_index[herded_subset(features, whole.labels, wanted, n_classes)]
    examples = real.examples(index, task.device)
    images = _TrainingImages(
        dataset=real.split.dataset,
        training_set="herding",
        images_per_class=wanted,
        split=real.split,
        n_real_images=len(real.train_index),
        real_class_counts=real.class_counts(),
        herding=herding.features,
        herded_index=tuple(index.tolist()),
    )
    return _Source(real.space, images, lambda _: examples)


def _open_full(n_images: int | None, params: TrainParams, task: Task) -> _Source:
    real = open_real_images(params, task)
    train_index = real.train_index
    if n_images is not None:
        if n_images > len(train_index):
            raise InvalidDataError(
                f"wanted {n_images:,} training images of {real.split.dataset}; the validation cut "
                f"leaves {len(train_index):,}"
            )
        # One subset for all networks: they are to differ by their own seed, not by their data.
        order = torch.randperm(len(train_index), generator=seeded_generator(params.seed, "full"))
        train_index = train_index[order[:n_images]].sort().values
    examples = real.examples(train_index, task.device)
    images = _TrainingImages(
        dataset=real.split.dataset,
        training_set="full",
        split=real.split,
        n_real_images=len(real.train_index),
        real_class_counts=real.class_counts(),
    )
    return _Source(real.space, images, lambda _: examples)
