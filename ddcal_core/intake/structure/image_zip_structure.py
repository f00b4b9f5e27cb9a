"""The structure of uploaded image files, read from the names in their archive alone.

    train/CLASS/FILE, test/CLASS/FILE and, if one likes, val/CLASS/FILE (valid, validation)
    CLASS/FILE
    a table of labels, such as labels.csv, and the files that it names (see image_table)

all in one folder more, if an archiver has put one around. Without a test part one is split off by
seed. Files are images by their names' ends; what they hold is for the intake process to see. What
operating systems and tools leave in folders is passed over and named; any other file, an image in
any other folder that starts with a dot, and a class folder without an image are refused, so that
nothing is left out unseen.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from ddcal_core.errors import InvalidDataError
from ddcal_core.intake.structure.class_rules import clean_class_name
from ddcal_core.intake.structure.image_table import is_table, placed_by_table
from ddcal_core.intake.structure.members import Member
from ddcal_core.intake.structure.placed_images import (
    PART_WORDS,
    LabelledEntry,
    PlacedImage,
    check_counts,
    class_names_of,
    labelled,
    shown,
    with_test_part,
)
from ddcal_core.intake.structure.zip_names import unjoined
from ddcal_core.specs.uploads import ImageOptions

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff")
MAX_FILE_BYTES = 128 * 2**20

ImageSplit = Literal["folders", "table", "seed"]
"""By what test images are told from training images."""

_CLUTTER = frozenset({"__macosx", "thumbs.db", "ehthumbs.db", "desktop.ini"})
_CLUTTER_FOLDERS = frozenset(
    {
        *("__macosx", ".git", ".svn", ".ipynb_checkpoints", ".idea", ".vscode", ".thumbnails"),
        *(".trashes", ".spotlight-v100", ".fseventsd", ".temporaryitems", ".appledouble"),
    }
)
_ARCHIVES = (".zip", ".npz", ".tar", ".tgz", ".gz", ".bz2", ".xz", ".zst", ".7z", ".rar")
_WANTED = "train/CLASS/FILE and test/CLASS/FILE (and val/CLASS/FILE), or CLASS/FILE"


@dataclass(frozen=True)
class ImageZipStructure:
    """What a well-formed archive of image files declares.

    Attributes:
        class_names: 2 to 1,000; by number where every name is one, else by code points.
        train: training images, by class, then by name; at least 2 of each class.
        validation: likewise; at least 1 of each class, or none at all.
        test: test images, likewise; at least 1 of each class.
        split: by what they were told apart.
        has_table: whether a table gave the classes.
        ignored: names of files that were passed over, such as .DS_Store.
        recognised: the layout in words, a sentence each.
    """

    class_names: tuple[str, ...]
    train: tuple[LabelledEntry, ...]
    validation: tuple[LabelledEntry, ...]
    test: tuple[LabelledEntry, ...]
    split: ImageSplit
    has_table: bool
    ignored: tuple[str, ...]
    recognised: tuple[str, ...]

    @property
    def n_images(self) -> int:
        """How many images there are in all parts."""
        return len(self.train) + len(self.validation) + len(self.test)


def inspect_images(
    everything: Sequence[Member],
    max_decoded_bytes: int,
    options: ImageOptions,
    read: Callable[..., bytes],
) -> ImageZipStructure:
    """Check an archive of image files by the names in it, and by its table of labels if it has one.

    Args:
        everything: in the archive.
        max_decoded_bytes: most bytes of the files together, and of the images after decoding.
        options: `test_fraction` and `seed` split test images off where there is no test part.
        read: gives the bytes of a member.

    Raises:
        InvalidDataError: it is no such data set; says what was wanted and what was got.
    """
    entries = [entry for entry in everything if not entry.name.endswith("/")]
    kept = [entry for entry in entries if not is_clutter(entry.name)]
    ignored = tuple(entry.name for entry in entries if is_clutter(entry.name))
    _check_hidden(ignored)
    tables = [entry for entry in kept if is_table(entry.name)]
    files = [entry for entry in kept if not is_table(entry.name)]
    _check_kinds(files)
    _check_sizes(files, max_decoded_bytes, options)
    split: ImageSplit = "table" if tables else "folders"
    if tables:
        images, words = placed_by_table(tables, files, read, options)
    else:
        images, words = _placed(files)
        _check_empty_folders(images, [entry.name for entry in everything])
    class_names = class_names_of(images, where="each a folder" if not tables else "in the table")
    images, split_off = with_test_part(images, options)
    parts = labelled(images, class_names)
    counts = {part: _counts(held, len(class_names)) for part, held in parts.items()}
    if not parts["validation"]:
        del counts["validation"]
    hint = " (the files of a class were split into train and test)" if split_off else ""
    check_counts(counts, class_names, hint)
    return ImageZipStructure(
        class_names=class_names,
        train=parts["train"],
        validation=parts["validation"],
        test=parts["test"],
        split="seed" if split_off else split,
        has_table=bool(tables),
        ignored=ignored,
        recognised=tuple(filter(None, (*words, split_off))),
    )


def _counts(held: Iterable[LabelledEntry], n_classes: int) -> list[int]:
    counts = [0] * n_classes
    for one in held:
        counts[one.label] += 1
    return counts


def is_clutter(name: str) -> bool:
    """Whether a file is one of those that systems and tools leave in folders."""
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


def _check_kinds(entries: list[Member]) -> None:
    others = [entry.name for entry in entries if not entry.name.lower().endswith(IMAGE_SUFFIXES)]
    if len(others) == len(entries):
        got = f"{shown(others)}" if others else "no file"
        raise InvalidDataError(
            f"wanted PNG, JPEG, WebP, BMP or TIFF files as {_WANTED}; a .npz with x_train, "
            "y_train, x_test and y_test; the files of CIFAR, MNIST or SVHN as they are downloaded; "
            f"or parquet or Arrow files of Hugging Face datasets; got {got}"
        )
    archives = [name for name in others if name.lower().endswith(_ARCHIVES)]
    if archives:
        raise InvalidDataError(f"wanted no archives inside the zip; got {shown(archives)}")
    if others:
        raise InvalidDataError(
            "wanted PNG, JPEG, WebP, BMP and TIFF files only, and at most one table of labels "
            f"(.csv); got {shown(others)}"
        )


def _check_sizes(entries: list[Member], max_decoded_bytes: int, options: ImageOptions) -> None:
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


def _placed(entries: list[Member]) -> tuple[list[PlacedImage], tuple[str, ...]]:
    """Where each image belongs, by the folders it lies in, and the layout in words."""
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
        raise InvalidDataError(f"wanted {_WANTED}; got {shown(names)}")
    if depth == 2:
        _check_part_folders(tops)
    classes = _ClassFolders()
    images = []
    for entry in entries:
        *parts, folder, file_name = entry.name.split("/")[n_around:]
        part = PART_WORDS[parts[0].lower()] if parts else None
        images.append(PlacedImage(part, classes.name_of(folder, part or ""), file_name, entry))
    if depth == 1:
        return images, ("Each folder is a class.",)
    return images, (f"Folders {', '.join(sorted(tops))}, in each a folder per class.",)


class _ClassFolders:
    """The classes that folders stand for, each spelled in one way in each part."""

    def __init__(self) -> None:
        self._names: dict[str, str] = {}
        self._spelled: dict[tuple[str, str], str] = {}

    def name_of(self, folder: str, part: str) -> str:
        if folder not in self._names:
            self._names[folder] = clean_class_name(folder, where="class folder")
        name = self._names[folder]
        first = self._spelled.setdefault((part, unjoined(name)), folder)
        if first != folder:
            raise InvalidDataError(
                "wanted class folders of different names; got "
                f"{first!r} and {folder!r}, which differ in spaces at the ends, in joiners or in "
                "the Unicode form of their letters alone: rename one, or put their images into one "
                "folder"
            )
        return name


def _check_part_folders(tops: set[str]) -> None:
    """Refuse two folders of one part, and test or validation images alone."""
    words = [PART_WORDS[top.lower()] for top in tops]
    twice = sorted(top for top in tops if words.count(PART_WORDS[top.lower()]) > 1)
    if twice:
        raise InvalidDataError(f"wanted one folder a part; got {shown(twice)}")
    if "train" not in words:
        raise InvalidDataError(f"wanted {_WANTED}; got {shown(tops)} alone")


def _check_empty_folders(images: list[PlacedImage], names: list[str]) -> None:
    """Refuse folders beside those of the classes that hold no image."""
    full = {image.member.name.rpartition("/")[0] for image in images}
    beside = {folder.rpartition("/")[0] for folder in full}
    others = {name.rpartition("/")[0] for name in names} - full - beside
    empty = {
        folder
        for folder in others
        if folder and folder.rpartition("/")[0] in beside and not is_clutter(folder)
    }
    if empty:
        raise InvalidDataError(
            f"wanted images in every class folder; folders without any: {len(empty):,}, "
            f"{shown(empty)} (fill them, or take them out of the zip)"
        )


def _depth(name: str) -> int:
    return name.count("/")


def _are_parts(folders: set[str]) -> bool:
    return all(folder.lower() in PART_WORDS for folder in folders)
