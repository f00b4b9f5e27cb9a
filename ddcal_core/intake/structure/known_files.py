"""Files of data sets as they are downloaded or saved, recognised by their names.

    CIFAR-10      data_batch_1 … data_batch_5, test_batch, batches.meta (the Python version)
    CIFAR-100     train, test, meta
    MNIST & co.   train-images-idx3-ubyte, train-labels-idx1-ubyte, t10k-…; plain or .gz
    SVHN          train_32x32.mat, test_32x32.mat
    Hugging Face  *.parquet, or *.arrow of save_to_disk; parts by the words in names and folders

What tools write beside them, such as dataset_info.json, is passed over; any other file is refused.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from ddcal_core.errors import InvalidDataError
from ddcal_core.intake.structure.image_zip_structure import is_clutter
from ddcal_core.intake.structure.members import Member
from ddcal_core.intake.structure.placed_images import PART_WORDS, Part, shown

Layout = Literal["cifar10", "cifar100", "idx", "svhn", "parquet", "arrow"]
"""Which files they are."""

_IDX = re.compile(r"(?:^|[-_.])(train|t10k|test)[-_](images|labels)[-.]idx[13][-_]ubyte(\.gz)?$")
_BESIDE = (".md", ".json", ".jsonl", ".txt", ".txt~", ".html", ".yaml", ".yml", ".csv")
_CACHE = re.compile(r"^(cache-|tmp)[^/]*\.arrow$")
_SHARD = re.compile(r"(.*?)([0-9]{3,})-of-([0-9]{3,})")
_BINARY_CIFAR = re.compile(r"^(data_batch_[0-9]+|test_batch|train|test)\.bin$")


@dataclass(frozen=True)
class KnownFiles:
    """Files of a data set that were recognised.

    Attributes:
        layout: which they are.
        parts: the files of each part, in order; of idx, images and labels in turn. One without a
            part's name is of the training part.
        meta: files that name the classes.
        ignored: names of files that were passed over.
    """

    layout: Layout
    parts: Mapping[Part, tuple[Member, ...]]
    meta: tuple[Member, ...]
    ignored: tuple[str, ...]


def recognise_files(entries: Sequence[Member], max_decoded_bytes: int) -> KnownFiles | None:
    """Recognise files of a data set by their names; None where they are none of these.

    Raises:
        InvalidDataError: they are, and one is missing, too much or too large.
    """
    files = [entry for entry in entries if not entry.name.endswith("/")]
    kept = [file for file in files if not is_clutter(file.name)]
    names = {_base(file): file for file in kept}
    found = next((one for recognise in _RECOGNISERS if (one := recognise(kept, names))), None)
    if found is None:
        return None
    n_bytes = sum(file.n_bytes for held in found.parts.values() for file in held)
    if n_bytes > max_decoded_bytes:
        raise InvalidDataError(
            f"wanted at most {max_decoded_bytes:,} bytes after decoding; got {n_bytes:,}"
        )
    return found


def _base(file: Member) -> str:
    return file.name.rpartition("/")[2]


def _files(
    layout: Layout,
    kept: Sequence[Member],
    parts: Mapping[Part, Sequence[Member]],
    meta: Sequence[Member] = (),
) -> KnownFiles:
    used = {file.name for held in (*parts.values(), meta) for file in held}
    others = [file for file in kept if file.name not in used]
    unseen = [
        file.name
        for file in others
        if not _base(file).lower().endswith(_BESIDE) and not _CACHE.match(_base(file))
    ]
    if unseen:
        raise InvalidDataError(f"wanted the files of one data set alone; got also {shown(unseen)}")
    return KnownFiles(
        layout,
        {part: tuple(held) for part, held in parts.items() if held},
        tuple(meta),
        tuple(file.name for file in others),
    )


def _cifar(kept: Sequence[Member], names: Mapping[str, Member]) -> KnownFiles | None:
    if any(map(_BINARY_CIFAR.match, names)):
        raise InvalidDataError(
            "wanted the Python version of CIFAR (cifar-10-python.tar.gz); got its binary version"
        )
    batches = sorted(name for name in names if re.fullmatch(r"data_batch_[0-9]+", name))
    expected = {f"data_batch_{k + 1}" for k in range(len(batches))}
    if batches or "test_batch" in names:
        layout: Layout = "cifar10"
        wanted: dict[Part, list[str]] = {"train": batches, "test": ["test_batch"]}
        meta = "batches.meta"
    elif {"train", "test", "meta"} <= names.keys():
        layout, wanted, meta = "cifar100", {"train": ["train"], "test": ["test"]}, "meta"
    else:
        return None
    wanted_names = [name for held in wanted.values() for name in held]
    if layout == "cifar10":
        wanted_names += sorted(expected)
    missing = [name for name in wanted_names if name not in names]
    if missing or (not batches and layout == "cifar10"):
        raise InvalidDataError(
            "wanted data_batch_1 …, test_batch and batches.meta of CIFAR-10; missing: "
            f"{shown(missing or ['data_batch_1'])}"
        )
    parts = {part: [names[name] for name in held] for part, held in wanted.items()}
    return _files(layout, kept, parts, [names[meta]] if meta in names else ())


def _idx(kept: Sequence[Member], names: Mapping[str, Member]) -> KnownFiles | None:
    found: dict[tuple[Part, str], Member] = {}
    for name, file in names.items():
        match = _IDX.search(name)
        if match:
            key = (PART_WORDS.get(match[1], "test"), match[2])
            if key in found:
                raise InvalidDataError(
                    f"wanted one file of {key[0]} {key[1]}; got {shown([found[key].name, name])}"
                )
            found[key] = file
    if not found:
        return None
    parts: dict[Part, list[Member]] = {}
    for part in dict.fromkeys(part for part, _ in found):
        missing = [what for what in ("images", "labels") if (part, what) not in found]
        if missing:
            raise InvalidDataError(
                f"{part}: wanted a file of images and one of labels (…-{missing[0]}-idx…-ubyte); "
                f"the {missing[0]} are missing"
            )
        parts[part] = [found[part, "images"], found[part, "labels"]]
    _require_train(parts)
    return _files("idx", kept, parts)


def _by_suffix(layout: Layout, suffix: str) -> Callable[..., KnownFiles | None]:
    def recognise(kept: Sequence[Member], _names: Mapping[str, Member]) -> KnownFiles | None:
        held = [file for file in kept if file.name.lower().endswith(suffix)]
        held = [file for file in held if not _CACHE.match(_base(file))]
        if layout == "svhn":
            held = [file for file in held if not _base(file).startswith("extra")]
        if not held:
            return None
        _require_all_shards(held)
        parts = _by_part(sorted(held, key=lambda one: one.name))
        _require_train(parts)
        extra = [file for file in kept if _base(file) == "extra_32x32.mat"]
        return _files(layout, [file for file in kept if file not in extra], parts)

    return recognise


def _require_train(parts: Mapping[Part, object]) -> None:
    if "train" not in parts:
        raise InvalidDataError(f"wanted files of a training part; got {shown(parts)} alone")


def _require_all_shards(files: Sequence[Member]) -> None:
    """Refuse 00000-of-00003 without the two others: the part would be smaller than it says."""
    found: dict[tuple[str, int], set[int]] = {}
    for file in files:
        match = _SHARD.match(file.name)
        if match:
            found.setdefault((match[1], int(match[3])), set()).add(int(match[2]))
    for (start, n_shards), numbers in found.items():
        if len(numbers) < n_shards:
            missing = next(k for k in range(n_shards) if k not in numbers)
            raise InvalidDataError(
                f"wanted all {n_shards:,} files {start}…-of-{n_shards:05}; got {len(numbers):,}, "
                f"without number {missing:05} (add them, or rename those that are to stand alone)"
            )


def _by_part(files: Sequence[Member]) -> dict[Part, list[Member]]:
    """The files of each part by their names, of the training part where no name tells any.

    Raises:
        InvalidDataError: some names tell a part and others none: such as eval beside train.
    """
    parts: dict[Part | None, list[Member]] = {}
    for file in files:
        parts.setdefault(_part_of(file.name), []).append(file)
    others = parts.pop(None, [])
    told = {part: held for part, held in parts.items() if part is not None}
    if not told:
        return {"train": others}
    if others:
        raise InvalidDataError(
            f"wanted the part in each file's name, or in none ({', '.join(PART_WORDS)}); got "
            f"{shown(file.name for file in others)} without one: rename them, or take them out"
        )
    return told


def _part_of(name: str) -> Part | None:
    """The part that the words of a file's name tell, else those of its folders."""
    for component in reversed(name.lower().split("/")):
        for word in re.split(r"[^a-z]+", component):
            if word in PART_WORDS:
                return PART_WORDS[word]
    return None


_RECOGNISERS: Final = (
    _cifar,
    _idx,
    _by_suffix("svhn", ".mat"),
    _by_suffix("parquet", ".parquet"),
    _by_suffix("arrow", ".arrow"),
)
