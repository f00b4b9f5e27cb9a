"""Names, tags and notes as requests give them, and the change of those that a thing has."""

import unicodedata
from typing import Annotated, TypeVar

from pydantic import AfterValidator, Field, JsonValue

from app.shared.store.descriptions import MAX_NAME, MAX_NOTES, MAX_TAG_VALUE, MAX_TAGS, TAG_KEY
from ddcal_core.specs.fields import Spec

T = TypeVar("T")


def _one_line(text: str) -> str:
    if text != text.strip() or any(unicodedata.category(one)[0] in "CZ" for one in _inner(text)):
        raise ValueError(
            "wanted one line of letters, digits, signs and single blanks, none at its ends"
        )
    return text


def _inner(text: str) -> str:
    """Text without what may stand in it alone of its kind: blanks, and the joiners of scripts."""
    return text.translate({ord(one): None for one in " \u200c\u200d"})


def _several_lines(text: str) -> str:
    if any(unicodedata.category(one) == "Cc" and one not in "\n\t" for one in text):
        raise ValueError("wanted text without control characters but line breaks and tabs")
    return text


Name = Annotated[
    str,
    Field(
        min_length=1,
        max_length=MAX_NAME,
        description=f"One line of 1 to {MAX_NAME} characters.",
        examples=["digits, ten a class"],
    ),
    AfterValidator(_one_line),
]
TagKey = Annotated[str, Field(pattern=f"^{TAG_KEY}$")]
TagValue = Annotated[str, Field(min_length=1, max_length=MAX_TAG_VALUE), AfterValidator(_one_line)]
# No other keys: of patterns alone the schema would say that all others may be anything.
NO_OTHER_KEYS: dict[str, JsonValue] = {"additionalProperties": False}
Tags = Annotated[
    dict[TagKey, TagValue],
    Field(
        max_length=MAX_TAGS,
        json_schema_extra=NO_OTHER_KEYS,
        description=f"At most {MAX_TAGS}. A key has 1 to 40 letters, digits, _, . or -, the first "
        f"a letter or a digit; a value is one line of 1 to {MAX_TAG_VALUE} characters.",
        examples=[{"env": "prod"}],
    ),
]
Notes = Annotated[
    str,
    Field(min_length=1, max_length=MAX_NOTES, description=f"Text of up to {MAX_NOTES} characters."),
    AfterValidator(_several_lines),
]


ChangedTags = Annotated[
    dict[TagKey, TagValue | None],
    Field(max_length=2 * MAX_TAGS, json_schema_extra=NO_OTHER_KEYS),
]


class UploadDescription(Spec):
    """A change of what is said of an upload, whose name is its address and stays."""

    tags: ChangedTags | None = Field(
        None,
        description="Tags to set, or with null to take away; null takes all away.",
    )
    notes: Notes | None = Field(None, description="null takes them away.")


class NewDescription(UploadDescription):
    """A change of a name, tags and notes; what is left out stays (RFC 7396)."""

    name: Name | None = Field(None, description="null takes it away.")
