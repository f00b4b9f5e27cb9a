"""A job's inputs -> tensors and networks, checked.

Splits are honest: validation is a split of its own, or cut from the training images by the split's
seed, and the test images have a reader of their own that only `evaluate` calls.
"""

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from ddcal_core.data.input_space import InputSpace, moved
from ddcal_core.data.labelled import (
    LabelledImages,
    load_named,
    long_tail,
    pick_classes,
    random_subset,
    split_validation,
)
from ddcal_core.data.network_images import NetworkImages, network_images
from ddcal_core.distillation.images import StartingSet
from ddcal_core.errors import InvalidDataError
from ddcal_core.formats.foreign_networks import ForeignModel, in_parts
from ddcal_core.formats.manifests import Split
from ddcal_core.formats.models import read_input_space, read_model
from ddcal_core.formats.sets import read_distilled_set
from ddcal_core.formats.tensor_files import read_tensors
from ddcal_core.seeding import seeded_generator
from ddcal_core.specs.information_drop import AnyDrop
from ddcal_core.training.information_drop import drop_information
from worker.trainer.inputs import DatasetInput, ModelInput, SetInput


@dataclass(frozen=True, eq=False)
class Examples:
    """Images ready for a network.

    Attributes:
        images: N, (C, H, W) each, network-input space, on the task's device; real ones may be kept
            as pixels.
        labels: int64 (N,), likewise.
        soft_labels: float32 (N, K), likewise, to train on in their place; None where there are
            none.
    """

    images: NetworkImages
    labels: Tensor
    soft_labels: Tensor | None = None


def load_train_images(dataset: DatasetInput) -> LabelledImages:
    """Read all training images of its classes, uncut: uint8 (N, C, H, W), int64 (N,).

    Images of a validation split of its own follow them.

    Raises:
        InvalidDataError: they are not there, or not what the facts say.
    """
    if dataset.source == "named":
        named = load_named(dataset.name, "train", _named_folder(dataset), dataset.allow_downloads)
        return _of_its_classes(named, dataset)
    n_images = sum(dataset.facts.train_class_counts) + (dataset.facts.n_own_validation or 0)
    return _read_upload(dataset.train_path, dataset, n_images)


def load_test_images(dataset: DatasetInput) -> LabelledImages:
    """Read the test images of its classes: uint8 (N, C, H, W), int64 (N,). For `evaluate` alone.

    Raises:
        InvalidDataError: they are not there, or not what the facts say.
    """
    if dataset.source == "named":
        named = load_named(dataset.name, "test", _named_folder(dataset), dataset.allow_downloads)
        return _of_its_classes(named, dataset)
    return _read_upload(dataset.test_path, dataset, sum(dataset.facts.test_class_counts))


def _named_folder(dataset: DatasetInput) -> Path:
    return dataset.named_folder or Path("named")


def _read_upload(path: Path | None, dataset: DatasetInput, n_images: int) -> LabelledImages:
    if path is None:
        raise InvalidDataError(f"wanted the images of {dataset.name}; got no path to them")
    tensors = read_tensors(path)
    data = _of_its_classes(LabelledImages(tensors["images"], tensors["labels"]), dataset)
    if data.images.shape != (n_images, *dataset.facts.image_shape):
        raise InvalidDataError(
            f"wanted {n_images} images {dataset.facts.image_shape} in {dataset.name}; "
            f"got {tuple(data.images.shape)}"
        )
    return data


def _of_its_classes(data: LabelledImages, dataset: DatasetInput) -> LabelledImages:
    return data if dataset.classes is None else pick_classes(data, dataset.classes)


def as_examples(
    data: LabelledImages, index: Tensor | None, space: InputSpace, device: torch.device
) -> Examples:
    """Take images into network-input space, all or those at an index; see `network_images`.

    Args:
        data: images uint8 (N, C, H, W) and labels int64 (N,).
        index: int64 (M,) into them, or None for all.
        space: which space.
        device: where the result lives.

    Returns:
        M of them, or all N.
    """
    places = torch.arange(len(data.labels)) if index is None else index
    images = network_images(data.images, places, space, device)
    return Examples(images, data.labels[places].to(device))


def cut(data: LabelledImages, split: Split, n_classes: int) -> tuple[Tensor, Tensor]:
    """Give the indices int64 of the images to train on and of the validation images.

    Validation images are cut first, from all there are, unless they are a split of their own; then
    the rest is thinned out to the split's long tail, so that validation is the same with every
    imbalance.

    Args:
        data: all training images of the split's classes, as `load_train_images` gives them.
        split: how to cut.
        n_classes: K, of the split's classes.
    """
    if split.n_own_validation is None:
        training, validation = split_validation(
            data.labels, split.n_validation, n_classes, split.seed
        )
    else:
        places = torch.arange(len(data.labels))
        training, validation = places.tensor_split([len(places) - split.n_own_validation])
    if split.imbalance is not None:
        training = long_tail(
            data.labels, training, n_classes, factor=split.imbalance, seed=split.seed
        )
    return training, validation


@dataclass(frozen=True, kw_only=True)
class RandomDraw:
    """Which random images one network is trained on.

    Attributes:
        images_per_class: how many.
        seed: of the job.
        seed_index: the network's place among those of its job.
    """

    images_per_class: int
    seed: int
    seed_index: int


def random_index(
    data: LabelledImages, train_index: Tensor, n_classes: int, draw: RandomDraw
) -> Tensor:
    """Draw the random images of one network, the same ones each time it is asked.

    Args:
        data: all training images, uint8 (N, C, H, W).
        train_index: those left by the cut, int64 (M,) into `data`.
        n_classes: K.
        draw: which images.

    Returns:
        int64 (K * images_per_class,), into `data`.
    """
    generator = seeded_generator(draw.seed, "random", draw.seed_index)
    chosen = random_subset(data.labels[train_index], draw.images_per_class, n_classes, generator)
    return train_index[chosen]


def without_information(
    examples: Examples, drop: AnyDrop | None, *, seed: int, seed_index: int
) -> Examples:
    """Take out of a training set what its training says, the same each time it is asked.

    Args:
        examples: the whole set.
        drop: what, and how much; None leaves the set as it is.
        seed: of the job that trains.
        seed_index: the network's place among those of its job.

    Raises:
        InvalidDataError: what `drop_information` refuses.
    """
    if drop is None:
        return examples
    generator = seeded_generator(seed, "drop", seed_index)
    left = drop_information(drop, examples.images, examples.labels, generator)
    soft_labels = examples.soft_labels
    return Examples(
        left.images,
        examples.labels[left.index],
        None if soft_labels is None else soft_labels[left.index],
    )


def load_distilled_set(distilled: SetInput, device: torch.device) -> Examples:
    """Read a distilled set, already in network-input space.

    Raises:
        InvalidDataError: the file does not hold the set its manifest tells of.
    """
    stored = read_distilled_set(distilled.path, distilled.manifest.facts)
    soft_labels = None if stored.soft_labels is None else stored.soft_labels.to(device)
    return Examples(stored.images.to(device), stored.labels.to(device), soft_labels)


def load_starting_set(distilled: SetInput, space: InputSpace, device: torch.device) -> StartingSet:
    """Read a distilled set that learning starts from, in the space to learn in.

    Raises:
        InvalidDataError: it is of other classes or another size, the file does not hold the set its
            manifest tells of, or there is no way from its space to this one.
    """
    facts = distilled.manifest.facts
    for what in ("image_shape", "class_names"):
        wanted, got = getattr(space.facts, what), getattr(facts, what)
        if wanted != got:
            raise InvalidDataError(
                f"wanted a distilled set of {what} {wanted} to start from; got {got}"
            )
    stored = read_distilled_set(distilled.path, facts)
    images = moved(stored.images, space_of_set(distilled), space)
    soft_labels = None if stored.soft_labels is None else stored.soft_labels.to(device)
    return StartingSet(images.to(device), stored.labels.to(device), soft_labels)


def load_model(model: ModelInput, device: torch.device) -> nn.Module:
    """Rebuild a network, in evaluation mode; one made elsewhere is asked of few images at once.

    Raises:
        InvalidDataError: the file does not hold the network its config tells of.
    """
    network = read_model(model.path, model.config)
    if isinstance(network, ForeignModel):
        return in_parts(network).to(device)
    return network.to(device)


def space_of_set(distilled: SetInput) -> InputSpace:
    """Read the input space that a distilled set was made in; on the CPU.

    Raises:
        InvalidDataError: the set's file does not hold what its manifest tells of.
    """
    return read_input_space(distilled.path, distilled.manifest)


def space_of_model(model: ModelInput) -> InputSpace:
    """Read what a network reads of pixels; on the CPU.

    Raises:
        InvalidDataError: there is no file of the whitened space its config tells of.
    """
    return read_input_space(model.input_space_path or model.path, model.config)
