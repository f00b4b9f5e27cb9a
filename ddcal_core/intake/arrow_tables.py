"""Parquet and Arrow files of images and labels, as Hugging Face datasets saves them (pyarrow).

Two columns are read, a batch at a time, and checked before they are looked at; others are passed
over. Images are files of their own in a column of bytes, or of {bytes, path}; labels are numbers or
text. Which columns they are is told by what datasets notes in the file, else by their names.
"""

import contextlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.ipc
import pyarrow.parquet
from numpy.typing import NDArray

from ddcal_core.errors import InvalidDataError
from ddcal_core.intake.archives import Archive
from ddcal_core.intake.dataset_files import DatasetSource, PartSource
from ddcal_core.intake.image_intake import Decoding, ImageFile
from ddcal_core.intake.npz_intake import named, numbered
from ddcal_core.intake.structure.class_rules import MAX_CLASSES, clean_class_name
from ddcal_core.intake.structure.image_zip_structure import MAX_FILE_BYTES
from ddcal_core.intake.structure.known_files import KnownFiles
from ddcal_core.intake.structure.placed_images import Part

_IMAGE_NAMES = ("image", "img", "images", "picture", "png", "jpg", "jpeg", "webp")
_LABEL_NAMES = ("label", "labels", "fine_label", "class", "class_name", "category", "target", "y")
_FEATURES_KEY = b"huggingface"
_MAX_FEATURES_BYTES = 2**22
_MIN_BYTES_A_ROW = 64
_BATCH_ROWS = {"images": 64, "labels": 2**14}


class Columns(NamedTuple):
    """The columns to read.

    Attributes:
        image: of bytes, or of a struct that has `bytes`.
        label: of numbers or text.
        class_names: of the labels, where the file says them.
        others: names of those passed over.
    """

    image: str
    label: str
    class_names: tuple[str, ...] | None
    others: tuple[str, ...]


@dataclass(frozen=True)
class _Table:
    """A file of rows on disk."""

    name: str
    path: Path
    is_parquet: bool

    def schema(self) -> pa.Schema:
        if self.is_parquet:
            with pa.parquet.ParquetFile(self.path) as file:
                return file.schema_arrow
        with self._reader() as reader:
            return reader.schema

    def n_rows(self, column: str) -> int:
        if self.is_parquet:
            with pa.parquet.ParquetFile(self.path) as file:
                return int(file.metadata.num_rows)
        return sum(len(batch) for batch in self.column(column, _BATCH_ROWS["labels"]))

    def column(self, name: str, n_batch: int) -> Iterator[pa.Array]:
        """A column a batch at a time, each checked in full."""
        with _refusing(self.name):
            for batch in self._batches(name, n_batch):
                batch.validate(full=True)
                yield batch.column(0)

    def _batches(self, name: str, n_batch: int) -> Iterator[pa.RecordBatch]:
        if self.is_parquet:
            with pa.parquet.ParquetFile(self.path) as file:
                yield from file.iter_batches(n_batch, columns=[name], use_threads=False)
            return
        with self._reader() as reader:
            place = reader.schema.get_field_index(name)
        with self._reader([place]) as reader:
            if isinstance(reader, pa.ipc.RecordBatchFileReader):
                for k in range(reader.num_record_batches):
                    yield reader.get_batch(k)
            else:
                yield from reader

    def _reader(self, fields: Sequence[int] | None = None) -> pa.RecordBatchReader:
        read = pa.ipc.IpcReadOptions(use_threads=False, included_fields=fields)
        file = pa.OSFile(str(self.path))
        is_file = file.read(6) == b"ARROW1"
        file.seek(0)
        opened = pa.ipc.open_file if is_file else pa.ipc.open_stream
        return opened(file, options=read)


@contextlib.contextmanager
def _refusing(name: str) -> Iterator[None]:
    """Say of broken bytes, and of those that ask for too much memory, that they are."""
    try:
        yield
    except InvalidDataError as error:
        raise InvalidDataError(f"{name}: {error}") from error
    except MemoryError as error:
        raise InvalidDataError(
            f"{name}: wanted batches of rows that fit into memory; got larger ones"
        ) from error
    except (pa.ArrowException, OSError, ValueError, KeyError, IndexError) as error:
        # pyarrow's own OSErrors have no number; others are the disk's fault.
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise InvalidDataError(f"{name}: wanted a whole file; got: {str(error)[:200]}") from error


@dataclass(frozen=True)
class Tables:
    """The files of a data set, of one schema.

    Attributes:
        parts: files of each part.
        columns: those to read.
        n_rows: in all.
    """

    parts: Mapping[Part, Sequence[_Table]]
    columns: Columns
    n_rows: int

    @staticmethod
    def opened(
        archive: Archive,
        files: KnownFiles,
        folder: Path,
        max_decoded_bytes: int,
        label: str | None,
    ) -> "Tables":
        """Copy files out of an archive and look at what they say of themselves.

        Args:
            archive: that they lie in.
            files: parquet or Arrow.
            folder: existing; for the copies.
            max_decoded_bytes: most bytes of all images, and so a bound of their number.
            label: name of the column of labels; None: the one that is recognised.

        Raises:
            InvalidDataError: one cannot be read, or they have no such columns, or others.
        """
        pa.set_memory_pool(pa.system_memory_pool())  # others take address space ahead
        parts: dict[Part, list[_Table]] = {}
        columns: Columns | None = None
        for part, members in files.parts.items():
            for member in members:
                copy = folder / str(sum(map(len, parts.values())))
                archive.copy(member, copy)
                table = _Table(member.name, copy, files.layout == "parquet")
                with _refusing(member.name):
                    found = _columns(table.schema(), label)
                    columns = columns or found
                    if found[:3] != columns[:3]:
                        raise InvalidDataError(
                            "wanted the columns and classes of the first file, "
                            f"{columns.image!r} and {columns.label!r}; got {found.image!r} and "
                            f"{found.label!r}, or other names of classes"
                        )
                parts.setdefault(part, []).append(table)
        assert columns is not None
        n_rows = 0
        for table in (one for held in parts.values() for one in held):
            with _refusing(table.name):
                n_rows += table.n_rows(columns.label)
                if n_rows > max_decoded_bytes // _MIN_BYTES_A_ROW:
                    raise InvalidDataError(
                        f"wanted at most {max_decoded_bytes // _MIN_BYTES_A_ROW:,} rows; got more"
                    )
        return Tables(parts, columns, n_rows)

    def source(self, decoding: Decoding, max_decoded_bytes: int) -> DatasetSource:
        """The data set to be written.

        Args:
            decoding: of its images.
            max_decoded_bytes: most bytes of them.

        Raises:
            InvalidDataError: labels or the first images cannot be used.
        """
        held = {part: self._labels(tables) for part, tables in self.parts.items()}
        if all(labels.dtype.kind == "i" for labels in held.values()):
            labelling = numbered(held, self.columns.class_names)
        else:
            labelling = named(held, self.columns.class_names)
        told = f"Images in the column {self.columns.image!r}, labels in {self.columns.label!r}"
        if self.columns.others:
            told += f"; passed over: {', '.join(map(repr, self.columns.others[:8]))}"
        return DatasetSource(
            image_shape=decoding.find_shape(self._images("train"), max_decoded_bytes),
            class_names=labelling.class_names,
            parts={
                part: PartSource(labels, partial(self._chunks, decoding, part))
                for part, labels in labelling.labels.items()
            },
            recognised=(f"{told}.", *labelling.told),
        )

    def _chunks(self, decoding: Decoding, part: Part) -> Iterator[NDArray[np.uint8]]:
        return decoding.chunks(self._images(part))

    def _images(self, part: Part) -> Iterator[ImageFile]:
        for table in self.parts[part]:
            n_done = 0
            for array in table.column(self.columns.image, _BATCH_ROWS["images"]):
                held = array.field("bytes") if pa.types.is_struct(array.type) else array
                for k in range(len(held)):
                    name = f"{table.name}, row {n_done + k}"
                    yield ImageFile(name, partial(_image_bytes, array, held, k))
                n_done += len(held)

    def _labels(self, tables: Sequence[_Table]) -> NDArray[Any]:
        """Labels (N,) as int64, or as text."""
        found: list[NDArray[Any]] = []
        for table in tables:
            for array in table.column(self.columns.label, _BATCH_ROWS["labels"]):
                with _refusing(table.name):
                    found.append(_label_values(array))
        if not found or not sum(map(len, found)):
            raise InvalidDataError(f"{tables[0].name}: wanted at least one row; got none")
        return np.concatenate(found)


def _image_bytes(rows: pa.Array, held: pa.Array, k: int) -> bytes:
    if not rows[k].is_valid or not held[k].is_valid:
        raise InvalidDataError(
            "wanted the bytes of an image; got none (with a path alone, save the data set with its "
            "files embedded)"
        )
    n_bytes = held[k].as_buffer().size
    if n_bytes > MAX_FILE_BYTES:
        raise InvalidDataError(
            f"wanted images of at most {MAX_FILE_BYTES:,} bytes; got {n_bytes:,}"
        )
    data: bytes = held[k].as_py()
    return data


def _label_values(array: pa.Array) -> NDArray[Any]:
    if array.null_count:
        raise InvalidDataError("wanted a label in each row; got a row without")
    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    if pa.types.is_integer(array.type):
        labels: NDArray[np.int64] = array.to_numpy(zero_copy_only=False).astype(np.int64)
        if len(labels) and not 0 <= int(labels.min()) <= int(labels.max()) < MAX_CLASSES:
            raise InvalidDataError(
                f"wanted labels 0 to {MAX_CLASSES - 1}; got {labels.min()} to {labels.max()}"
            )
        return labels
    names = {text: clean_class_name(text, where="label") for text in array.unique().to_pylist()}
    return np.array([names[text] for text in array.to_pylist()])


def _columns(schema: pa.Schema, label_column: str | None) -> Columns:
    """Which columns hold images and labels."""
    features = _features(schema)
    names = list(schema.names)
    if len(set(names)) < len(names):
        raise InvalidDataError("wanted columns of different names; got one twice")
    image = _only(
        [name for name in names if _type(features, name) == "Image" or _is_image(schema, name)],
        _IMAGE_NAMES,
        "images (bytes, or a struct with bytes)",
        names,
    )
    classified = [name for name in names if _type(features, name) == "ClassLabel"]
    label = _only(
        [name for name in classified or names if _is_label(schema.field(name).type)]
        if label_column is None
        else [name for name in names if name == label_column],
        _LABEL_NAMES if label_column is None else (label_column,),
        "labels (integers or text)",
        names,
        is_named=not classified,
    )
    if not _is_label(schema.field(label).type):
        raise InvalidDataError(
            f"{label}: wanted labels, integers or text; got {schema.field(label).type}"
        )
    return Columns(
        image,
        label,
        _class_names(features.get(label, {})),
        tuple(name for name in names if name not in (image, label)),
    )


def _only(
    found: Sequence[str],
    preferred: Sequence[str],
    what: str,
    names: Sequence[str],
    *,
    is_named: bool = False,
) -> str:
    """The one column of its kind, or the one of them that is called so."""
    if len(found) == 1 and not is_named:
        return found[0]
    called = [name for name in preferred if name in found]
    if called:
        return called[0]
    raise InvalidDataError(
        f"wanted a column of {what}, of several one called {', '.join(preferred)}; got the columns "
        f"{', '.join(repr(name[:40]) for name in names[:12]) or 'none'}"
    )


def _is_image(schema: pa.Schema, name: str) -> bool:
    kind = schema.field(name).type
    if pa.types.is_struct(kind):
        place = kind.get_field_index("bytes")
        return place >= 0 and _is_binary(kind.field(place).type)
    return _is_binary(kind)


def _is_binary(kind: pa.DataType) -> bool:
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def _is_label(kind: pa.DataType) -> bool:
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    kinds = (pa.types.is_integer, pa.types.is_string, pa.types.is_large_string)
    return any(is_kind(kind) for is_kind in kinds)


def _features(schema: pa.Schema) -> Mapping[str, Any]:
    """What datasets has noted of the columns, by their names; empty where there is nothing."""
    noted = (schema.metadata or {}).get(_FEATURES_KEY, b"")
    if len(noted) > _MAX_FEATURES_BYTES:
        raise InvalidDataError(f"wanted notes of at most {_MAX_FEATURES_BYTES:,} bytes; got more")
    try:
        features = json.loads(noted or b"{}").get("info", {}).get("features", {})
    except (ValueError, AttributeError, RecursionError) as error:
        raise InvalidDataError(
            f"wanted datasets' notes on the columns in JSON; got: {error}"
        ) from error
    return features if isinstance(features, dict) else {}


def _type(features: Mapping[str, Any], name: str) -> object:
    noted = features.get(name)
    return noted.get("_type") if isinstance(noted, dict) else None


def _class_names(noted: object) -> tuple[str, ...] | None:
    names = noted.get("names") if isinstance(noted, dict) else None
    if names is None:
        return None
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise InvalidDataError("wanted names of classes that are text")
    cleaned = tuple(clean_class_name(name, where="name of a class") for name in names)
    if not 2 <= len(cleaned) <= MAX_CLASSES or len(set(cleaned)) < len(cleaned):
        raise InvalidDataError(f"wanted 2 to {MAX_CLASSES} classes of different names")
    return cleaned
