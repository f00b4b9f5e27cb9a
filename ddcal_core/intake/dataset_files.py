"""A data set as the trainer reads it: two safetensors files, and what is known of them."""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ddcal_core.errors import InvalidDataError
from ddcal_core.intake.npz_arrays import safetensors_header
from ddcal_core.intake.repeats import RowDigests, Shared, shared_rows
from ddcal_core.intake.samples import samples_png
from ddcal_core.intake.structure.placed_images import (
    Part,
    check_counts,
    n_test_of,
    split_words,
)
from ddcal_core.specs.facts import DatasetFacts
from ddcal_core.specs.uploads import SAMPLES_FILE, ImageOptions

_FILES: tuple[tuple[Part, ...], ...] = (("train", "validation"), ("test",))


@dataclass(frozen=True)
class TakenDataset:
    """A data set taken in.

    Attributes:
        facts: shape, classes, counts and the statistics of the training images.
        train_path: safetensors with images uint8 (N, C, H, W) and labels int64 (N,); those of a
            validation split of its own follow those for training.
        test_path: likewise, of the test images.
        samples_path: a PNG of some training images of each class.
    """

    facts: DatasetFacts
    train_path: Path
    test_path: Path
    samples_path: Path

    @property
    def paths(self) -> tuple[Path, ...]:
        """All of its files."""
        return self.train_path, self.test_path, self.samples_path


@dataclass(frozen=True)
class PartSource:
    """One part of a data set, to be read.

    Attributes:
        labels: int64 (N,), 0 to K - 1.
        chunks: gives the N images in order, uint8, each chunk of any number of them (n, H, W, C),
            or (n, H, W) where C is 1; may be asked again.
    """

    labels: NDArray[np.int64]
    chunks: Callable[[], Iterable[NDArray[np.uint8]]]


@dataclass(frozen=True, kw_only=True)
class DatasetSource:
    """A data set to be read, whatever it was sent as.

    Attributes:
        image_shape: (C, H, W).
        class_names: (K,).
        parts: training and, if there are any, validation and test images.
        recognised: how it was read, a sentence each.
        hint: for the refusal of too few images of a class, in brackets; or nothing.
    """

    image_shape: tuple[int, int, int]
    class_names: tuple[str, ...]
    parts: Mapping[Part, PartSource]
    recognised: tuple[str, ...] = ()
    hint: str = ""


@dataclass
class WrittenPart:
    """What was seen of a part's images while they were written.

    Attributes:
        histogram: how often each pixel value occurs in each channel, int64 (C, 256).
        digests: of the images, of pixels alone.
        n_images: how many.
    """

    histogram: NDArray[np.int64]
    digests: RowDigests
    n_images: int = 0


def write_dataset(
    source: DatasetSource,
    folder: Path,
    options: ImageOptions,
    conclude: Callable[[], tuple[str, ...]] = tuple,
) -> TakenDataset:
    """Read a data set a few images at a time and write it as tensors.

    Args:
        source: to be read; without a test part, one is split off by seed.
        folder: an existing folder for train.safetensors, test.safetensors and samples.png.
        options: `test_fraction` and `seed` of that split.
        conclude: called once all images are read; gives notes on them.

    Raises:
        InvalidDataError: the data cannot be used; says what was wanted and what was got.
    """
    n_classes, recognised = len(source.class_names), source.recognised
    parts = dict(source.parts)
    if "test" not in parts:
        parts["train"], parts["test"] = _split(parts["train"], n_classes, options)
        recognised = (*recognised, split_words(options))
    counts = {part: _counts(part, one.labels, n_classes) for part, one in parts.items()}
    required: dict[Part, tuple[int, ...]] = {
        part: held for part, held in counts.items() if part != "test"
    }
    check_counts(required, source.class_names, source.hint)
    written: dict[Part, WrittenPart] = {}
    paths = (folder / "train.safetensors", folder / "test.safetensors")
    for path, names in zip(paths, _FILES, strict=True):
        held = {part: parts[part] for part in names if part in parts}
        written |= _write_file(path, source.image_shape, held)
    notes = conclude()
    for part, seen in written.items():
        n_labels = len(parts[part].labels)
        if seen.n_images != n_labels:
            raise InvalidDataError(
                f"{part}: wanted an image of each of {n_labels:,} labels; got {seen.n_images:,}"
            )
    mean, std, channel_note = channel_statistics(written["train"].histogram)
    n_shared, leaks = check_leaks(written)
    absent = _absent_note(counts["test"], source.class_names)
    facts = DatasetFacts(
        image_shape=source.image_shape,
        class_names=source.class_names,
        train_class_counts=counts["train"],
        validation_class_counts=counts.get("validation"),
        test_class_counts=counts["test"],
        mean=mean,
        std=std,
        n_test_in_train=n_shared,
        notes=tuple(
            filter(None, (*leaks, absent, _alike_note(source.class_names), channel_note, *notes))
        ),
        recognised=recognised,
    )
    samples = folder / SAMPLES_FILE
    samples.write_bytes(samples_png(paths[0], facts))
    return TakenDataset(facts, *paths, samples)


def _counts(part: Part, labels: NDArray[np.int64], n_classes: int) -> tuple[int, ...]:
    largest = int(labels.max(initial=0))
    if largest >= n_classes:
        raise InvalidDataError(
            f"{part}: wanted labels of the {n_classes} classes that have names or training images; "
            f"got one of class {largest + 1}"
        )
    return tuple(int(count) for count in np.bincount(labels, minlength=n_classes))


def _split(
    part: PartSource, n_classes: int, options: ImageOptions
) -> tuple[PartSource, PartSource]:
    """Tell test images from training images by class and seed; both stay in their order."""
    is_test = np.zeros(len(part.labels), bool)
    for label in range(n_classes):
        places = np.flatnonzero(part.labels == label)
        if len(places):
            order = np.random.default_rng([options.seed or 0, label]).permutation(places)
            is_test[order[: n_test_of(len(places), options)]] = True
    return _picked(part, ~is_test), _picked(part, is_test)


def _picked(part: PartSource, is_kept: NDArray[np.bool_]) -> PartSource:
    def chunks() -> Iterator[NDArray[np.uint8]]:
        start = 0
        for chunk in part.chunks():
            yield chunk[is_kept[start : start + len(chunk)]]
            start += len(chunk)

    return PartSource(part.labels[is_kept], chunks)


def _write_file(
    path: Path, image_shape: tuple[int, int, int], parts: Mapping[Part, PartSource]
) -> dict[Part, WrittenPart]:
    """Write parts behind each other as one safetensors, images a chunk at a time."""
    labels = np.concatenate([part.labels for part in parts.values()])
    with path.open("wb") as file:
        # Labels first: they need alignment.
        images_shape = (len(labels), *image_shape)
        file.write(
            safetensors_header({"labels": ("I64", labels.shape), "images": ("U8", images_shape)})
        )
        file.write(labels.astype("<i8").tobytes())
        written = {}
        for name, part in parts.items():
            seen = WrittenPart(np.zeros((image_shape[0], 256), np.int64), RowDigests())
            for images in filter(len, part.chunks()):
                file.write(_channels_first(images, image_shape, seen))
            written[name] = seen
    return written


def _channels_first(
    images: NDArray[np.uint8], image_shape: tuple[int, int, int], seen: WrittenPart
) -> bytes:
    """Some images as they are written, and counted."""
    n_channels, height, width = image_shape
    channels_first = images.reshape(-1, height, width, n_channels).transpose(0, 3, 1, 2)
    for c in range(n_channels):
        seen.histogram[c] += np.bincount(channels_first[:, c].ravel(), minlength=256)
    data = channels_first.tobytes()
    seen.digests.add(data, math.prod(image_shape))
    seen.n_images += len(channels_first)
    return data


def check_leaks(parts: Mapping[Part, WrittenPart]) -> tuple[int, tuple[str, ...]]:
    """Count images that stand in two parts, to the last pixel.

    Returns:
        How many test images are also training images, and words for the facts' notes.

    Raises:
        InvalidDataError: every test image, or every validation image, is one, by more than chance.
    """
    train, test, validation = parts["train"], parts["test"], parts.get("validation")
    shared = shared_rows(train.digests, test.digests)
    _require_others(shared, "test")
    notes = [_leak_note(shared.n, test.n_images, "test", "training")]
    if validation is not None:
        trained_on = shared_rows(train.digests, validation.digests)
        _require_others(trained_on, "validation")
        n_tested = shared_rows(validation.digests, test.digests).n
        notes += [
            _leak_note(trained_on.n, validation.n_images, "validation", "training"),
            _leak_note(n_tested, test.n_images, "test", "validation"),
        ]
    return shared.n, tuple(filter(None, notes))


def _require_others(shared: Shared, part: str) -> None:
    if shared.is_all and not shared.may_be_chance:
        raise InvalidDataError(
            f"wanted {part} images that are not trained on; every one of the {shared.n:,} {part} "
            "images is also a training image, in whatever order or file"
        )


def _leak_note(n_shared: int, n_images: int, part: str, other: str) -> str:
    if n_shared == 0:
        return ""
    return (
        f"{n_shared:,} of the {n_images:,} {part} images ({100 * n_shared / n_images:.1f} %) are "
        f"also {other} images, to the last pixel, which flatters every number measured on them. "
        "Take them out of either part."
    )


def _absent_note(counts: Sequence[int], class_names: Sequence[str]) -> str:
    absent = [name for name, count in zip(class_names, counts, strict=True) if count == 0]
    if not absent:
        return ""
    more = f" and {len(absent) - 5:,} more" if len(absent) > 5 else ""
    return (
        f"No test image is of class {', '.join(map(repr, absent[:5]))}{more}: no number measured "
        "on the test images tells anything of it. Add some."
    )


def _alike_note(class_names: Sequence[str]) -> str:
    """Of names of classes that people may have meant as one: Cat and cat, 1 and 01."""
    first: dict[str, str] = {}
    for name in class_names:
        plain = name.casefold()
        plain = plain.lstrip("0") or "0" if plain.isdecimal() else plain
        other = first.setdefault(plain, name)
        if other != name:
            return (
                f"Classes {other!r} and {name!r} are taken for two, as their names differ, if in "
                "case or leading zeros alone. Where one is meant, name them alike."
            )
    return ""


def channel_statistics(
    histogram: NDArray[np.int64],
) -> tuple[tuple[float, ...], tuple[float, ...], str]:
    """Give mean and standard deviation of each channel, of pixels in [0, 1], and a note.

    A channel of one value alone has the deviation 1: networks read zeros there.

    Args:
        histogram: of the training images, occurrences of each pixel value, int64 (C, 256).
    """
    values = np.arange(256) / 255
    shares = histogram / histogram.sum(1, keepdims=True)
    mean = shares @ values
    std = np.sqrt((shares * (values - mean[:, None]) ** 2).sum(1))
    is_constant = (histogram > 0).sum(1) == 1
    std[is_constant] = 1.0
    note = "; ".join(f"channel {c} is {round(mean[c] * 255)}" for c in np.flatnonzero(is_constant))
    if note:
        note = (
            f"In the training images every pixel of {note}: networks learn nothing from it, and "
            "read zeros there. Leave it out if that is not meant."
        )
    return tuple(map(float, mean)), tuple(map(float, std)), note
