"""Labelled images as tensors: reading, picking, splitting, thinning out."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ddcal_core.data.class_choice import long_tailed_counts
from ddcal_core.data.dataset_facts import NAMED_DATASETS, Split, validation_counts
from ddcal_core.errors import InvalidDataError
from ddcal_core.seeding import seeded_generator

N_DIGITS_TEST = 500


@dataclass(frozen=True, eq=False)
class LabelledImages:
    """Images as they were stored, with one label each.

    Attributes:
        images: uint8 (N, C, H, W), pixels from 0 to 255.
        labels: int64 (N,).

    Raises:
        InvalidDataError: shapes or dtypes are others, or the lengths differ.
    """

    images: Tensor
    labels: Tensor

    def __post_init__(self) -> None:
        images, labels = self.images, self.labels
        if images.dtype != torch.uint8 or images.ndim != 4:
            raise InvalidDataError(
                f"wanted images uint8 (N, C, H, W), got {images.dtype} of shape "
                f"{tuple(images.shape)}"
            )
        if labels.dtype != torch.int64 or labels.shape != images.shape[:1]:
            raise InvalidDataError(
                f"wanted labels int64 of shape ({len(images)},), got {labels.dtype} of shape "
                f"{tuple(labels.shape)}"
            )


def load_named(name: str, split: Split, folder: Path, allow_download: bool) -> LabelledImages:
    """Read a data set that is known by name.

    Args:
        name: a key of `dataset_facts.NAMED_DATASETS`. "digits" comes with scikit-learn and is
            split into 1,297 and 500 images, stratified, always the same; the others come through
            torchvision.
        split: "train" or "test".
        folder: where torchvision's data sets lie; not read for "digits".
        allow_download: fetch what is missing there.

    Returns:
        The images and labels of the split, in the order in which they are stored.

    Raises:
        InvalidDataError: the name is not known, or the files cannot be read.
    """
    if name == "digits":
        return _load_digits(split)
    if name not in NAMED_DATASETS:
        raise InvalidDataError(
            f"there is no data set named {name!r}; known: {', '.join(sorted(NAMED_DATASETS))}"
        )
    # torchvision and scikit-learn take twice as long to import as torch, and few jobs read these.
    from ddcal_core.data.torchvision_readers import read_torchvision  # noqa: PLC0415

    return LabelledImages(*read_torchvision(name, split, folder, allow_download))


def _load_digits(split: Split) -> LabelledImages:
    from sklearn.datasets import load_digits  # noqa: PLC0415
    from sklearn.model_selection import train_test_split  # noqa: PLC0415

    pixels, targets = load_digits(return_X_y=True)
    train_index, test_index = train_test_split(
        np.arange(len(targets)), test_size=N_DIGITS_TEST, random_state=0, stratify=targets
    )
    index = np.sort(train_index if split == "train" else test_index)
    # scikit-learn's digits have 17 grey levels, 0 to 16.
    images = np.round(pixels[index] * 255 / 16).astype(np.uint8).reshape(-1, 1, 8, 8)
    return LabelledImages(torch.from_numpy(images), torch.from_numpy(targets[index]).long())


def indices_by_class(labels: Tensor, n_classes: int) -> list[Tensor]:
    """Where the images of each class are.

    Args:
        labels: int64 (N,), 0 to `n_classes` - 1.
        n_classes: number of classes K.

    Returns:
        K index tensors int64 of shape (n_k,), ascending, on the labels' device; empty for a class
        without images.

    Raises:
        InvalidDataError: there are no labels, or one is out of range.
    """
    if len(labels) == 0:
        raise InvalidDataError("wanted at least one label, got none")
    lowest, highest = int(labels.min()), int(labels.max())
    if lowest < 0 or highest >= n_classes:
        raise InvalidDataError(f"wanted labels 0 to {n_classes - 1}, got {lowest} to {highest}")
    return [(labels == label).nonzero().squeeze(1) for label in range(n_classes)]


def split_validation(
    labels: Tensor, n_validation: int | None, n_classes: int, seed: int
) -> tuple[Tensor, Tensor]:
    """Cut validation images from a training split, by class and seed.

    Args:
        labels: int64 (N,), 0 to `n_classes` - 1.
        n_validation: images to cut; None for the default of `dataset_facts.validation_counts`,
            which also says how many each class gives.
        n_classes: number of classes K.
        seed: which images are cut; other classes' sizes do not matter for it.

    Returns:
        Indices of the images left for training and of those cut, both int64, ascending, disjoint,
        together all of 0 to N - 1.

    Raises:
        InvalidDataError: there are no labels, or one is out of range.
    """
    by_class = indices_by_class(labels, n_classes)
    counts = validation_counts(tuple(len(index) for index in by_class), n_validation)
    validation: list[Tensor] = []
    training: list[Tensor] = []
    for label, (index, count) in enumerate(zip(by_class, counts, strict=True)):
        order = torch.randperm(len(index), generator=seeded_generator(seed, "validation", label))
        validation.append(index[order[:count]])
        training.append(index[order[count:]])
    return torch.cat(training).sort().values, torch.cat(validation).sort().values


def pick_classes(data: LabelledImages, classes: Sequence[int]) -> LabelledImages:
    """The images of some classes, in their order; label k is the k-th of the classes.

    Args:
        data: images of all classes.
        classes: labels in them, each once.
    """
    n_labels = 1 + max(*classes, int(data.labels.max()) if len(data.labels) else 0)
    new_labels = torch.full((n_labels,), -1)
    new_labels[torch.tensor(classes)] = torch.arange(len(classes))
    labels = new_labels[data.labels]
    kept = labels >= 0
    return LabelledImages(data.images[kept], labels[kept])


def long_tail(labels: Tensor, index: Tensor, n_classes: int, *, factor: float, seed: int) -> Tensor:
    """Thin training images out to a long tail (see `class_choice.long_tailed_counts`).

    Args:
        labels: int64 (N,), 0 to `n_classes` - 1.
        index: int64 (M,) into them: the training images.
        n_classes: number of classes K >= 2.
        factor: in (0, 1].
        seed: which images stay; a smaller factor keeps some of those that a larger one keeps.

    Returns:
        int64, ascending: those of `index` that stay.

    Raises:
        InvalidDataError: there are no images.
    """
    by_class = indices_by_class(labels[index], n_classes)
    counts = long_tailed_counts([len(places) for places in by_class], factor)
    kept: list[Tensor] = []
    for label, (places, count) in enumerate(zip(by_class, counts, strict=True)):
        order = torch.randperm(len(places), generator=seeded_generator(seed, "imbalance", label))
        kept.append(index[places[order[:count]]])
    return torch.cat(kept).sort().values


def random_subset(
    labels: Tensor, images_per_class: int, n_classes: int, generator: torch.Generator
) -> Tensor:
    """Indices of random images, equally many of each class, without repetition.

    Args:
        labels: int64 (N,), 0 to `n_classes` - 1.
        images_per_class: how many of each class.
        n_classes: number of classes K.
        generator: a CPU generator.

    Returns:
        int64 of shape (K * images_per_class,), those of class 0, then of class 1, and so on, on the
        labels' device.

    Raises:
        InvalidDataError: a class has too few images, there are no labels, or one is out of range.
    """
    chosen: list[Tensor] = []
    for label, index in enumerate(indices_by_class(labels, n_classes)):
        if len(index) < images_per_class:
            raise InvalidDataError(
                f"wanted at least {images_per_class} images of each class, but class {label} has "
                f"{len(index)}"
            )
        order = torch.randperm(len(index), generator=generator)
        chosen.append(index[order[:images_per_class].to(index.device)])
    return torch.cat(chosen)


def as_pixels(images: Tensor) -> Tensor:
    """Give pixels as float32 in [0, 1], same shape.

    Args:
        images: uint8 from 0 to 255, or floating point in [0, 1], of any shape.

    Returns:
        A new tensor, but for float32 input, which comes back itself.

    Raises:
        InvalidDataError: another dtype, or floats outside [0, 1] or NaN.
    """
    if images.dtype == torch.uint8:
        # By a number, CUDA would multiply by 1/255, which rounds unlike the division on a CPU.
        return images.float().div_(torch.tensor(255.0, device=images.device))
    if not images.is_floating_point():
        raise InvalidDataError(f"wanted pixels uint8 or floating point, got {images.dtype}")
    pixels = images.float()
    if not bool(((pixels >= 0) & (pixels <= 1)).all()):
        raise InvalidDataError(
            "wanted floating-point pixels in [0, 1], got "
            f"{float(pixels.min())} to {float(pixels.max())}"
        )
    return pixels
