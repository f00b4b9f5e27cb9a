"""What every record that leaves the process is made of: frozen fields, a version, a way up.

A record is what a JSON file or a stored result holds. It is written with its version; files from
before there were versions are of version 1.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Final, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from ddcal_core.errors import InvalidDataError
from ddcal_core.specs.fields import described_by_docstring

VERSION: Final = 2
VersionedT = TypeVar("VersionedT", bound="VersionedRecord")


def is_empty(value: object) -> bool:
    """Likewise of a field that is a tuple."""
    return value == ()


class Record(BaseModel):
    """Frozen JSON fields; a key that is not among them is an error, and so are NaN and infinity."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        allow_inf_nan=False,
        json_schema_extra=described_by_docstring,
    )

    def as_json(self) -> dict[str, Any]:
        """Give the fields as JSON values."""
        return self.model_dump(mode="json")


class VersionedRecord(Record):
    """A record that says which version of its format it is; read by `read_record`.

    Attributes:
        KIND: what it is, for messages.
        version: of the format.
    """

    KIND: ClassVar[str]

    version: Literal[2] = VERSION

    @classmethod
    def upgraded(cls, held: Mapping[str, Any]) -> dict[str, Any]:
        """Give the fields of a version 1 record as version 2 has them.

        Version 1 has no version field and may lack fields that came later; a record whose later
        fields have no default fills them in here.
        """
        return {**held, "version": VERSION}


def read_record(record: type[VersionedT], held: Mapping[str, Any]) -> VersionedT:
    """Read a record of this version or an earlier one from its JSON fields.

    Args:
        record: what it is.
        held: its fields; without `version` it is of version 1.

    Raises:
        InvalidDataError: it is of a version that this ddcal does not know, or its fields are not
            those of its version.
    """
    version = held.get("version", 1)
    if version not in range(1, VERSION + 1):
        raise InvalidDataError(
            f"this {record.KIND} is of version {version}; this ddcal reads versions 1 to "
            f"{VERSION}: upgrade ddcal, or make it again with this one"
        )
    fields = record.upgraded(held) if version < VERSION else held
    try:
        return record.model_validate_json(json.dumps(fields))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(map(str, first["loc"])) or "its fields"
        raise InvalidDataError(
            f"wanted a {record.KIND} of version {version}; got {place}: {first['msg']}: make it "
            "again"
        ) from error


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write readable JSON; a number that is not finite raises ValueError."""
    text = json.dumps(content, allow_nan=False, ensure_ascii=False, indent=1)
    path.write_text(text + "\n", encoding="utf-8")
