"""A user's image files -> checked tensors and what is known of them (numpy, Pillow).

One file is read and decoded at a time, so memory stays small whatever the archive's size. A file
that cannot be used does not end the look at the others: the problem names several at once.
"""

import logging
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ddcal_core.errors import InvalidDataError
from ddcal_core.intake.archives import Archive
from ddcal_core.intake.dataset_files import (
    DatasetSource,
    PartSource,
    TakenDataset,
    write_dataset,
)
from ddcal_core.intake.image_decoding import MAX_WHOLE_PIXELS, decode_image
from ddcal_core.intake.structure.image_zip_structure import ImageZipStructure
from ddcal_core.intake.structure.placed_images import LabelledEntry, Part
from ddcal_core.progress import Progress, ProgressCallback
from ddcal_core.specs.uploads import MAX_GREY_BITS, MIN_GREY_BITS, ImageOptions

MAX_PROBLEMS_TOLD = 5

_CHUNK_IMAGES = 256
_CHUNK_BYTES = 4 * 2**20
_REPORT_SECONDS = 0.5
_LOG = logging.getLogger("ddcal.intake")


class ImageFile(NamedTuple):
    """An image file.

    Attributes:
        name: for messages.
        read: gives its bytes.
    """

    name: str
    read: Callable[[], bytes]


def take_in_images(
    archive: Archive,
    structure: ImageZipStructure,
    folder: Path,
    *,
    options: ImageOptions,
    max_decoded_bytes: int,
    report: ProgressCallback,
) -> TakenDataset:
    """Decode every image of an archive and write them as tensors.

    Args:
        archive: that they lie in.
        structure: what `inspect_images` gave for it.
        folder: an existing folder for train.safetensors and test.safetensors.
        options: what to bring the images to.
        max_decoded_bytes: most bytes of all pixels.
        report: told how many images are done.

    Raises:
        InvalidDataError: images cannot be used, or are not of one shape; names up to 5 of them.
    """
    held: dict[Part, tuple[LabelledEntry, ...]] = {
        "train": structure.train,
        "validation": structure.validation,
        "test": structure.test,
    }

    decoding = Decoding(options, report, n_images=structure.n_images)
    image_shape = decoding.find_shape(_files(archive, structure.train), max_decoded_bytes)
    source = DatasetSource(
        image_shape=image_shape,
        class_names=structure.class_names,
        parts={
            part: PartSource(_labels(entries), partial(_chunks, decoding, archive, entries))
            for part, entries in held.items()
            if entries
        },
        recognised=structure.recognised,
    )
    taken = write_dataset(source, folder, options, decoding.conclude)
    _LOG.info("%d files passed over; done to images: %s", len(structure.ignored), decoding.told())
    return taken


def _files(archive: Archive, entries: Iterable[LabelledEntry]) -> Iterator[ImageFile]:
    """The files one at a time: there may be 250,000."""
    for one in entries:
        yield ImageFile(one.entry.name, partial(archive.read, one.entry))


def _chunks(
    decoding: "Decoding", archive: Archive, entries: Iterable[LabelledEntry]
) -> Iterator[NDArray[np.uint8]]:
    return decoding.chunks(_files(archive, entries))


def _labels(entries: Iterable[LabelledEntry]) -> NDArray[np.int64]:
    return np.array([one.label for one in entries], np.int64)


@dataclass
class Decoding:
    """The image files of one upload being decoded, and what was found on the way."""

    options: ImageOptions
    report: ProgressCallback
    n_images: int
    n_done: int = 0
    reported: float = field(default_factory=time.monotonic)
    first: tuple[str, tuple[int, ...]] | None = None
    problems: list[str] = field(default_factory=list)
    changes: Counter[str] = field(default_factory=Counter)
    warned: list[str] = field(default_factory=list)
    deepest: int = 0

    def find_shape(
        self, files: Iterable[ImageFile], max_decoded_bytes: int
    ) -> tuple[int, int, int]:
        """(C, H, W) of the first image that can be decoded, which all others have to have.

        Raises:
            InvalidDataError: none can be, or all together would have too many bytes.
        """
        for file in files:
            try:
                decoded = decode_image(file.read(), self.options)
            except InvalidDataError as error:
                self._note(file, error)
                continue
            height, width, n_channels = decoded.pixels.shape
            self.first = (file.name, (height, width, n_channels))
            self.problems.clear()  # those before it are met again
            n_bytes = self.n_images * decoded.pixels.size
            if n_bytes > max_decoded_bytes:
                raise InvalidDataError(
                    f"wanted at most {max_decoded_bytes:,} bytes after decoding; got {n_bytes:,}"
                )
            return n_channels, height, width
        raise InvalidDataError("; ".join(self.problems))

    def chunks(self, files: Iterable[ImageFile]) -> Iterator[NDArray[np.uint8]]:
        """All images in order, (n, H, W, C), up to the first that cannot be used; all are tried."""
        assert self.first is not None
        most = max(1, min(_CHUNK_IMAGES, _CHUNK_BYTES // int(np.prod(self.first[1]))))
        decoded: list[NDArray[np.uint8]] = []
        for file in files:
            pixels = self._tried(file)
            self.n_done += 1
            self._tell()
            if pixels is not None and not self.problems:
                decoded.append(pixels)
            if len(decoded) == most:
                yield np.stack(decoded)
                decoded.clear()
        if decoded:
            yield np.stack(decoded)

    def conclude(self) -> tuple[str, ...]:
        """Refuse the whole where an image could not be used; else give notes on them."""
        if self.problems:
            raise InvalidDataError("; ".join(self.problems))
        return tuple(filter(None, (self._warnings_note(), self._depth_note(), self._size_note())))

    def told(self) -> str:
        """What was done to how many images: "3 turned, 1 palette"."""
        return ", ".join(f"{n} {what}" for what, n in sorted(self.changes.items())) or "nothing"

    def _warnings_note(self) -> str:
        """Name the files that decoders warned of."""
        if not self.warned:
            return ""
        more = len(self.warned) - MAX_PROBLEMS_TOLD
        return (
            f"The decoder warned of {len(self.warned):,} of {self.n_images:,} image files, whose "
            "pixels may be wrong; look at them, or send them anew: "
            + "; ".join(self.warned[:MAX_PROBLEMS_TOLD])
            + (f"; and {more:,} more" if more > 0 else "")
        )

    def _depth_note(self) -> str:
        n_deep = self.changes["16-bit grey"]
        if not n_deep:
            return ""
        bits = self.options.grey_bits or MAX_GREY_BITS
        rule = f"{n_deep:,} images are 16-bit grey: value v became round(255 v / {2**bits - 1:,})."
        needed = max(MIN_GREY_BITS, self.deepest.bit_length())
        if needed >= bits:
            return rule
        return (
            f"{rule} No value is above {self.deepest:,}, so they are darker than need be: with "
            f"grey_bits={needed} they would use the whole range."
        )

    def _size_note(self) -> str:
        n_reduced = self.changes["reduced"]
        if not n_reduced:
            return ""
        return (
            f"Images of more than {MAX_WHOLE_PIXELS:,} pixels, {n_reduced:,} in all, were reduced "
            "by a whole factor, averaging pixels, before they were resampled."
        )

    def _tried(self, file: ImageFile) -> NDArray[np.uint8] | None:
        try:
            decoded = decode_image(file.read(), self.options)
            self._check_shape(decoded.pixels)
        except InvalidDataError as error:
            self._note(file, error)
            return None
        self.changes.update(decoded.changes)
        self.deepest = max(self.deepest, decoded.deepest)
        if decoded.warnings:
            self.warned.append(f"{file.name}: {'; '.join(decoded.warnings)}")
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

    def _note(self, file: ImageFile, error: InvalidDataError) -> None:
        self.problems.append(f"{file.name}: {error}")
        if len(self.problems) == MAX_PROBLEMS_TOLD:
            raise InvalidDataError("; ".join([*self.problems, "no further image was looked at"]))

    def _tell(self) -> None:
        now = time.monotonic()
        if now - self.reported > _REPORT_SECONDS or self.n_done == self.n_images:
            self.reported = now
            self.report(Progress(phase="decode", step=self.n_done, steps=self.n_images))
