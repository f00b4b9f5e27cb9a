"""A table of labels beside image files: labels.csv with a row per image, and what it says of them.

Columns are recognised by their names, whatever their order; others are passed over:

    file    filename, file_name, file, path, filepath, image, image_name, image_path, image_id, id
    label   label, class, class_name, category, target, y
    part    split, part, set, subset, partition (train, val, test), if there is one

A file is named by its path beside the table, or below the one folder beside it that has all
images; with or without its ending.
"""

import csv
import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final, NamedTuple

from ddcal_core.errors import InvalidDataError
from ddcal_core.intake.structure.class_rules import clean_class_name
from ddcal_core.intake.structure.members import Member
from ddcal_core.intake.structure.placed_images import PART_WORDS, PlacedImage, shown
from ddcal_core.specs.uploads import ImageOptions

MAX_TABLE_BYTES = 16 * 2**20

_FILE_COLUMNS: Final = (
    *("filename", "file_name", "file", "path", "filepath", "file_path", "image", "image_name"),
    *("image_path", "image_id", "img", "name", "id"),
)
_LABEL_COLUMNS: Final = ("label", "class", "class_name", "category", "target", "labels", "y")
_PART_COLUMNS: Final = ("split", "part", "set", "subset", "partition")
_MOST_COLUMNS = 1_000


class _Row(NamedTuple):
    line: int
    file: str
    label: str
    part: str | None


def is_table(name: str) -> bool:
    """Whether a file is a table of labels, by its name."""
    return name.lower().endswith((".csv", ".tsv"))


def placed_by_table(
    tables: Sequence[Member],
    files: Sequence[Member],
    read: Callable[..., bytes],
    options: ImageOptions,
) -> tuple[list[PlacedImage], tuple[str, ...]]:
    """Where each image belongs by the table, which has to name each once.

    Args:
        tables: those in the archive, of which there may be one.
        files: the images.
        read: gives the bytes of a member.
        options: `names`, the code page of the table, and `label`, its column of labels.

    Returns:
        The images, and what was recognised, in words.

    Raises:
        InvalidDataError: there are several tables, it is none, or it and the files do not agree.
    """
    if len(tables) > 1:
        raise InvalidDataError(
            f"wanted one table of labels; got {shown(table.name for table in tables)}"
        )
    (table,), code_page = tables, options.names
    if table.n_bytes > MAX_TABLE_BYTES:
        raise InvalidDataError(
            f"{table.name}: wanted a table of at most {MAX_TABLE_BYTES:,} bytes; got "
            f"{table.n_bytes:,}"
        )
    try:
        text = read(table).decode(code_page or "utf-8-sig")
        columns, rows = _rows(text, options.label)
    except UnicodeDecodeError as error:
        raise InvalidDataError(
            f"{table.name}: wanted text in {code_page or 'UTF-8'}; byte {error.start} is none "
            "(names= names the code page)"
        ) from None
    except (InvalidDataError, csv.Error) as error:
        raise InvalidDataError(f"{table.name}: {error}") from error
    images = _matched(table.name, rows, files)
    said = ", ".join(f"{what} in the column {column!r}" for what, column in columns.items())
    return images, (f"{table.name} gives the {said}.",)


def _rows(text: str, label_column: str | None) -> tuple[dict[str, str], Iterator[_Row]]:
    """The columns recognised, by what they hold, and the rows below the header."""
    first = text.partition("\n")[0]
    delimiter = max(",;\t", key=first.count)
    lines = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    header = [name.strip() for name in next(lines, [])]
    if len(header) > _MOST_COLUMNS:
        raise InvalidDataError(f"wanted at most {_MOST_COLUMNS:,} columns; got {len(header):,}")
    labels = _LABEL_COLUMNS if label_column is None else (_plain(label_column),)
    file, label, part = (_column(header, known) for known in (_FILE_COLUMNS, labels, _PART_COLUMNS))
    if file is None or label is None:
        raise InvalidDataError(
            "wanted a header with a column of files (such as 'filename') and one of labels (such "
            f"as {labels[0]!r}); got "
            f"{', '.join(repr(name[:40]) for name in header[:8]) or 'no line'}"
        )
    found = {"files": header[file], "labels": header[label]}
    if part is not None:
        found["parts"] = header[part]

    def rows() -> Iterator[_Row]:
        for cells in lines:
            if not cells:
                continue
            if len(cells) != len(header):
                raise InvalidDataError(
                    f"line {lines.line_num}: wanted {len(header)} cells; got {len(cells)}"
                )
            yield _Row(
                lines.line_num,
                cells[file].strip().replace("\\", "/"),
                cells[label],
                None if part is None else cells[part].strip(),
            )

    return found, rows()


def _column(header: Sequence[str], known: Sequence[str]) -> int | None:
    """The place of the column of the first of the names that there is, if there is one."""
    names = [_plain(name) for name in header]
    for name in known:
        if names.count(name) > 1:
            raise InvalidDataError(f"wanted one column {name!r}; got {names.count(name)}")
        if name in names:
            return names.index(name)
    return None


def _plain(name: str) -> str:
    """A column's name as it is compared: small letters, joined by lines."""
    return name.strip().lower().replace(" ", "_").replace("-", "_")


def _matched(table: str, rows: Iterator[_Row], files: Sequence[Member]) -> list[PlacedImage]:
    by_name = _by_name(table, files)
    left = {member.name for member in files}
    images: list[PlacedImage] = []
    try:
        for row in rows:
            member = by_name.get(row.file.removeprefix("./"))
            if member is None:
                raise InvalidDataError(
                    f"line {row.line}: wanted a file of the upload; got {row.file[:80]!r}, which "
                    "is not in it"
                )
            if member.name not in left:
                raise InvalidDataError(f"line {row.line}: wanted each file once; got {row.file!r}")
            left.remove(member.name)
            name = clean_class_name(row.label, where=f"line {row.line}, label")
            part = None if row.part is None else PART_WORDS.get(row.part.lower())
            if row.part is not None and part is None:
                raise InvalidDataError(
                    f"line {row.line}: wanted a part {', '.join(PART_WORDS)}; got {row.part[:40]!r}"
                )
            images.append(PlacedImage(part, name, member.name, member))
    except (InvalidDataError, csv.Error) as error:
        raise InvalidDataError(f"{table}: {error}") from error
    if left:
        raise InvalidDataError(
            f"{table}: wanted a line for each image; {len(left):,} have none: {shown(left)} (add "
            "them, or take the images out)"
        )
    return images


def _by_name(table: str, files: Sequence[Member]) -> Mapping[str, Member]:
    """Each file by all that the table may call it; nothing that two could be called."""
    beside = table.rpartition("/")[0]
    folder = f"{beside}/" if beside else ""
    inner = {member.name.removeprefix(folder).partition("/")[0] for member in files}
    below = f"{next(iter(inner))}/" if len(inner) == 1 else ""
    found: dict[str, Member | None] = {}
    for member in files:
        path = member.name.removeprefix(folder)
        names = {path, path.removeprefix(below)}
        names |= {name.rpartition(".")[0] for name in names}
        for name in names:
            found[name] = None if name in found else member
    return {name: member for name, member in found.items() if member is not None}
