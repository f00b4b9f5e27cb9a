"""The structure of an uploaded zip of image files, read from its directory alone.

    train/CLASS/FILE and test/CLASS/FILE    or    CLASS/FILE, split by seed

all in one folder more, if an archiver has put one around. Files are PNG or JPEG by their names'
ends; what they hold is for the intake process to see. What operating systems and tools leave in
folders is passed over and named; any other file, an image in any other folder that starts with a
dot, and a class folder without an image are refused, so that nothing is left out unseen.
"""

import hashlib
import json
import math
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from ddcal_core.errors import InvalidDataError
from ddcal_core.intake.structure.class_rules import (
    MAX_CLASSES,
    MIN_TRAIN_IMAGES_PER_CLASS,
    clean_class_name,
)
from ddcal_core.intake.structure.zip_directory import ZipEntry, read_directory
from ddcal_core.specs.uploads import DEFAULT_TEST_FRACTION, ImageOptions

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg")
MAX_FILE_BYTES = 32 * 2**20

_PARTS = ("train", "test")
_CLUTTER = frozenset({"__macosx", "thumbs.db", "ehthumbs.db", "desktop.ini"})
_CLUTTER_FOLDERS = frozenset(
    {
        *("__macosx", ".git", ".svn", ".ipynb_checkpoints", ".idea", ".vscode", ".thumbnails"),
        *(".trashes", ".spotlight-v100", ".fseventsd", ".temporaryitems", ".appledouble"),
    }
)
_ARCHIVES = (".zip", ".npz", ".tar", ".tgz", ".gz", ".bz2", ".xz", ".zst", ".7z", ".rar")
_WANTED = "train/CLASS/FILE and test/CLASS/FILE, or CLASS/FILE"


class LabelledEntry(NamedTuple):
    """An image file and the number of its class."""

    label: int
    entry: ZipEntry


@dataclass(frozen=True)
class ImageZipStructure:
    """What a well-formed zip of image files declares.

    Attributes:
        class_names: 2 to 1,000; by number where every name is one, else by code points.
        train: training images, by class, then by name; at least 2 of each class.
        test: test images, likewise; at least 1 of each class.
        is_split: whether they were told apart by seed, for want of folders.
        ignored: names of files that were passed over, such as .DS_Store.
    """

    class_names: tuple[str, ...]
    train: tuple[LabelledEntry, ...]
    test: tuple[LabelledEntry, ...]
    is_split: bool
    ignored: tuple[str, ...]


class _Image(NamedTuple):
    part: str  # empty where it is for the seed to say
    class_name: str
    file_name: str
    entry: ZipEntry


def inspect_image_zip(
    path: Path, max_decoded_bytes: int, options: ImageOptions
) -> ImageZipStructure:
    """Check a zip of image files by its directory alone.

    Args:
        path: the file.
        max_decoded_bytes: most bytes of the files together, and of the images after decoding.
        options: `test_fraction` and `seed` split images that are not in train and test folders.

    Raises:
        InvalidDataError: the zip is no such data set; says what was wanted and what was got.
    """
    everything = read_directory(path)
    entries = [entry for entry in everything if not entry.name.endswith("/")]
    kept = [entry for entry in entries if not _is_clutter(entry.name)]
    ignored = tuple(entry.name for entry in entries if _is_clutter(entry.name))
    _check_hidden(ignored)
    _check_kinds(kept)
    _check_sizes(kept, max_decoded_bytes, options)
    images = _placed(kept)
    _check_empty_folders(images, [entry.name for entry in everything])
    class_names = _class_names(images)
    is_split = not images[0].part
    if is_split:
        images = _split(images, options)
    _check_parts(images, class_names, is_split=is_split)
    labels = {name: label for label, name in enumerate(class_names)}
    train, test = (
        tuple(
            LabelledEntry(labels[image.class_name], image.entry)
            for image in sorted(
                (image for image in images if image.part == part),
                key=lambda image: (labels[image.class_name], image.file_name),
            )
        )
        for part in _PARTS
    )
    return ImageZipStructure(class_names, train, test, is_split, ignored)


def _is_clutter(name: str) -> bool:
    return any(part.startswith(".") or part.lower() in _CLUTTER for part in name.split("/"))


def _check_hidden(ignored: Iterable[str]) -> None:
    """Refuse images in folders of the user's that merely start with a dot: a class `.net`, say."""
    hidden: dict[str, int] = {}
    for name in ignored:
        *folders, file_name = name.split("/")
        dotted = [folder for folder in folders if folder.startswith(".")]
        is_image = file_name.lower().endswith(IMAGE_SUFFIXES) and not file_name.startswith("._")
        if is_image and dotted and not _CLUTTER_FOLDERS & {folder.lower() for folder in folders}:
            hidden[dotted[0]] = hidden.get(dotted[0], 0) + 1
    if hidden:
        folder, n = next(iter(hidden.items()))
        raise InvalidDataError(
            "wanted no folders whose names start with a dot, which are passed over as hidden; got "
            f"{folder!r} with {n:,} image files: rename it, or take it out of the zip"
        )


def _check_kinds(entries: list[ZipEntry]) -> None:
    others = [entry.name for entry in entries if not entry.name.lower().endswith(IMAGE_SUFFIXES)]
    if len(others) == len(entries):
        got = f"{_shown(others)}" if others else "no file"
        raise InvalidDataError(
            f"wanted PNG or JPEG files as {_WANTED}, or a .npz with x_train, y_train, x_test and "
            f"y_test; got {got}"
        )
    archives = [name for name in others if name.lower().endswith(_ARCHIVES)]
    if archives:
        raise InvalidDataError(f"wanted no archives inside the zip; got {_shown(archives)}")
    if others:
        raise InvalidDataError(f"wanted PNG and JPEG files only; got {_shown(others)}")


def _check_sizes(entries: list[ZipEntry], max_decoded_bytes: int, options: ImageOptions) -> None:
    n_bytes = sum(entry.n_bytes for entry in entries)
    n_pixels = len(entries) * (options.resize or 0) ** 2
    if max(n_bytes, n_pixels) > max_decoded_bytes:
        raise InvalidDataError(
            f"wanted at most {max_decoded_bytes:,} bytes after decoding; got "
            f"{max(n_bytes, n_pixels):,}"
        )
    for entry in entries:
        if entry.n_bytes > MAX_FILE_BYTES:
            raise InvalidDataError(
                f"{entry.name}: wanted files of at most {MAX_FILE_BYTES:,} bytes; got "
                f"{entry.n_bytes:,}"
            )


def _placed(entries: list[ZipEntry]) -> list[_Image]:
    """Where each image belongs, by the folders it lies in."""
    names = [entry.name for entry in entries]
    shallowest, deepest = (choose(names, key=_depth) for choose in (min, max))
    if _depth(shallowest) != _depth(deepest):
        raise InvalidDataError(f"wanted {_WANTED}; got {shallowest!r} and {deepest!r}")
    depth, n_around = _depth(deepest), 0
    tops = {name.split("/", 1)[0] for name in names}
    if len(tops) == 1 and depth >= 2 and not _are_parts(tops):
        depth, n_around = depth - 1, 1
        tops = {name.split("/", 2)[1] for name in names}
    if (depth, _are_parts(tops)) not in ((1, False), (2, True)):
        raise InvalidDataError(f"wanted {_WANTED}; got {_shown(names)}")
    class_names: dict[str, str] = {}
    spelled: dict[tuple[str, str], str] = {}
    images = []
    for entry in entries:
        *parts, folder, file_name = entry.name.split("/")[n_around:]
        if folder not in class_names:
            class_names[folder] = clean_class_name(folder, where="class folder")
        part = sys.intern(parts[0].lower()) if parts else ""
        first = spelled.setdefault((part, class_names[folder]), folder)
        if first != folder:
            raise InvalidDataError(
                "wanted class folders of different names; got "
                f"{first!r} and {folder!r}, which differ in spaces at the ends or in the Unicode "
                "form of their letters alone: rename one, or put their images into one folder"
            )
        images.append(_Image(part, class_names[folder], file_name, entry))
    return images


def _check_empty_folders(images: list[_Image], names: list[str]) -> None:
    """Refuse folders beside those of the classes that hold no image."""
    full = {image.entry.name.rpartition("/")[0] for image in images}
    beside = {folder.rpartition("/")[0] for folder in full}
    others = {name.rpartition("/")[0] for name in names} - full - beside
    empty = {
        folder
        for folder in others
        if folder and folder.rpartition("/")[0] in beside and not _is_clutter(folder)
    }
    if empty:
        raise InvalidDataError(
            f"wanted images in every class folder; folders without any: {len(empty):,}, "
            f"{_shown(empty)} (fill them, or take them out of the zip)"
        )


def _depth(name: str) -> int:
    return name.count("/")


def _are_parts(folders: set[str]) -> bool:
    return all(folder.lower() in _PARTS for folder in folders)


def _class_names(images: list[_Image]) -> tuple[str, ...]:
    names = {image.class_name for image in images}
    if not 2 <= len(names) <= MAX_CLASSES:
        raise InvalidDataError(
            f"wanted 2 to {MAX_CLASSES} classes, each a folder; got {len(names)}: {_shown(names)}"
        )
    if all(name.isascii() and name.isdecimal() for name in names):
        return tuple(sorted(names, key=lambda name: (int(name), name)))
    return tuple(sorted(names))


def _split(images: list[_Image], options: ImageOptions) -> list[_Image]:
    """Tell test images from training images by a hash of seed, class and file name.

    No generator is drawn from: an image's place depends on no other image's bytes or order, and
    the same files make the same split however they are packed.
    """
    fraction = DEFAULT_TEST_FRACTION if options.test_fraction is None else options.test_fraction
    by_class: dict[str, list[_Image]] = {}
    for image in images:
        by_class.setdefault(image.class_name, []).append(image)

    def digest(image: _Image) -> bytes:
        text = json.dumps([options.seed or 0, "split", image.class_name, image.file_name])
        return hashlib.sha256(text.encode()).digest()

    split = []
    for members in by_class.values():
        n_test = max(1, math.floor(fraction * len(members) + 0.5))
        ordered = sorted(members, key=digest)
        split += [
            image._replace(part="test" if place < n_test else "train")
            for place, image in enumerate(ordered)
        ]
    return split


def _check_parts(images: list[_Image], class_names: tuple[str, ...], *, is_split: bool) -> None:
    counts = dict.fromkeys(((part, name) for part in _PARTS for name in class_names), 0)
    for image in images:
        counts[image.part, image.class_name] += 1
    for part, least in (("train", MIN_TRAIN_IMAGES_PER_CLASS), ("test", 1)):
        few = [name for name in class_names if counts[part, name] < least]
        if few:
            raise InvalidDataError(
                f"{part}: wanted at least {least} images of each class; got "
                f"{counts[part, few[0]]} of {_shown(few)}"
                + (" (the files of a class were split into train and test)" if is_split else "")
            )


def _shown(names: Iterable[str]) -> str:
    listed = sorted(names)
    shown = ", ".join(repr(name[:80]) for name in listed[:4])
    return f"{shown} and {len(listed) - 4:,} more" if len(listed) > 4 else shown or "none"
