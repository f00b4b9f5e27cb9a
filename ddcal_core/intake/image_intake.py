"""A user's zip of image files -> checked tensors and what is known of them (numpy, Pillow).

One file is read and decoded at a time, so memory stays small whatever the zip's size. A file that
cannot be used does not end the look at the others: the problem names several at once.
"""

import logging
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from ddcal_core.errors import InvalidDataError
from ddcal_core.intake.dataset_files import (
    TakenDataset,
    channel_statistics,
    check_leak,
    write_split,
)
from ddcal_core.intake.image_decoding import decode_image
from ddcal_core.intake.structure.image_zip_structure import ImageZipStructure, LabelledEntry
from ddcal_core.intake.structure.zip_directory import ZipEntry, read_entry
from ddcal_core.progress import Progress, ProgressCallback
from ddcal_core.specs.facts import DatasetFacts
from ddcal_core.specs.uploads import ImageOptions

MAX_PROBLEMS_TOLD = 5

_CHUNK_IMAGES = 256
_REPORT_SECONDS = 0.5
_LOG = logging.getLogger("ddcal.intake")


def take_in_images(
    upload: Path,
    structure: ImageZipStructure,
    folder: Path,
    *,
    options: ImageOptions,
    max_decoded_bytes: int,
    report: ProgressCallback,
) -> TakenDataset:
    """Decode every image of a zip and write them as tensors.

    Args:
        upload: the zip.
        structure: what `inspect_image_zip` gave for it.
        folder: an existing folder for train.safetensors and test.safetensors.
        options: what to bring the images to.
        max_decoded_bytes: most bytes of all pixels.
        report: told how many images are done.

    Raises:
        InvalidDataError: images cannot be used, or are not of one shape; names up to 5 of them.
    """
    n_images = len(structure.train) + len(structure.test)
    with upload.open("rb") as file:
        decoding = _Decoding(file, options, report, n_images=n_images)
        image_shape = decoding.find_shape(structure.train)
        n_bytes = n_images * int(np.prod(image_shape))
        if n_bytes > max_decoded_bytes:
            raise InvalidDataError(
                f"wanted at most {max_decoded_bytes:,} bytes after decoding; got {n_bytes:,}"
            )
        train_path, test_path = (folder / f"{part}.safetensors" for part in ("train", "test"))
        train_labels, test_labels = _labels(structure.train), _labels(structure.test)
        train = write_split(train_path, train_labels, image_shape, decoding.chunks(structure.train))
        test = write_split(test_path, test_labels, image_shape, decoding.chunks(structure.test))
        decoding.conclude()
    _LOG.info("%d files passed over; done to images: %s", len(structure.ignored), decoding.told())
    mean, std = channel_statistics(train.histogram)
    n_shared, note = check_leak(train, test)
    n_classes = len(structure.class_names)
    facts = DatasetFacts(
        image_shape=image_shape,
        class_names=structure.class_names,
        train_class_counts=_counts(train_labels, n_classes),
        test_class_counts=_counts(test_labels, n_classes),
        mean=mean,
        std=std,
        n_test_in_train=n_shared,
        notes=tuple(one for one in (note, decoding.warnings_note()) if one is not None),
    )
    return TakenDataset(facts, train_path, test_path)


def _labels(entries: Sequence[LabelledEntry]) -> NDArray[np.int64]:
    return np.fromiter((one.label for one in entries), np.int64, len(entries))


def _counts(labels: NDArray[np.int64], n_classes: int) -> tuple[int, ...]:
    return tuple(int(count) for count in np.bincount(labels, minlength=n_classes))


@dataclass
class _Decoding:
    """The images of one zip being decoded, and what was found on the way."""

    file: BinaryIO
    options: ImageOptions
    report: ProgressCallback
    n_images: int
    n_done: int = 0
    reported: float = field(default_factory=time.monotonic)
    first: tuple[str, tuple[int, ...]] | None = None
    problems: list[str] = field(default_factory=list)
    changes: Counter[str] = field(default_factory=Counter)
    warned: list[str] = field(default_factory=list)

    def find_shape(self, entries: Sequence[LabelledEntry]) -> tuple[int, int, int]:
        """(C, H, W) of the first image that can be decoded, which all others have to have."""
        for _, entry in entries:
            try:
                decoded = decode_image(read_entry(self.file, entry), self.options)
            except InvalidDataError as error:
                self._note(entry, error)
                continue
            height, width, n_channels = decoded.pixels.shape
            self.first = (entry.name, (height, width, n_channels))
            self.problems.clear()  # those before it are met again
            return n_channels, height, width
        raise InvalidDataError("; ".join(self.problems))

    def chunks(self, entries: Sequence[LabelledEntry]) -> Iterator[NDArray[np.uint8]]:
        """All images in order, (n, H, W, C), up to the first that cannot be used; all are tried."""
        for start in range(0, len(entries), _CHUNK_IMAGES):
            chunk = entries[start : start + _CHUNK_IMAGES]
            decoded = [pixels for _, entry in chunk if (pixels := self._tried(entry)) is not None]
            self.n_done += len(chunk)
            self._tell()
            if not self.problems:
                yield np.stack(decoded)

    def conclude(self) -> None:
        """Refuse the whole where an image could not be used."""
        if self.problems:
            raise InvalidDataError("; ".join(self.problems))

    def told(self) -> str:
        """What was done to how many images: "3 turned, 1 palette"."""
        return ", ".join(f"{n} {what}" for what, n in sorted(self.changes.items())) or "nothing"

    def warnings_note(self) -> str | None:
        """Name the files that decoders warned of; None where there are none."""
        if not self.warned:
            return None
        more = len(self.warned) - MAX_PROBLEMS_TOLD
        return (
            f"The decoder warned of {len(self.warned):,} of {self.n_images:,} image files, whose "
            "pixels may be wrong; look at them, or send them anew: "
            + "; ".join(self.warned[:MAX_PROBLEMS_TOLD])
            + (f"; and {more:,} more" if more > 0 else "")
        )

    def _tried(self, entry: ZipEntry) -> NDArray[np.uint8] | None:
        try:
            decoded = decode_image(read_entry(self.file, entry), self.options)
            self._check_shape(decoded.pixels)
        except InvalidDataError as error:
            self._note(entry, error)
            return None
        self.changes.update(decoded.changes)
        if decoded.warnings:
            self.warned.append(f"{entry.name}: {'; '.join(decoded.warnings)}")
        return decoded.pixels

    def _check_shape(self, pixels: NDArray[np.uint8]) -> None:
        assert self.first is not None
        name, shape = self.first
        if pixels.shape[2] != shape[2]:
            got, had = (("grey" if n == 1 else "colour") for n in (pixels.shape[2], shape[2]))
            raise InvalidDataError(
                f"wanted all images grey or all in colour, or one of them asked for; got {got} "
                f"where {name} is {had}"
            )
        if pixels.shape != shape:
            raise InvalidDataError(
                f"wanted images of one size, or a side to resize to; got {pixels.shape[0]} x "
                f"{pixels.shape[1]} where {name} has {shape[0]} x {shape[1]}"
            )

    def _note(self, entry: ZipEntry, error: InvalidDataError) -> None:
        self.problems.append(f"{entry.name}: {error}")
        if len(self.problems) == MAX_PROBLEMS_TOLD:
            raise InvalidDataError("; ".join([*self.problems, "no further image was looked at"]))

    def _tell(self) -> None:
        now = time.monotonic()
        if now - self.reported > _REPORT_SECONDS or self.n_done == self.n_images:
            self.reported = now
            self.report(Progress(phase="decode", step=self.n_done, steps=self.n_images))
