"""What every request is made of: the frozen base, names, seeds, references."""

import inspect
import re
from collections.abc import Mapping
from typing import Annotated, Any, get_args

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag

MAX_SEED = 2**31 - 1
MAX_VALIDATION_BY_DEFAULT = 2_000
JOB_REFERENCE = r"^job_[0-9a-z]{26}$"
SET_REFERENCE = r"^(set|job)_[0-9a-z]{26}$"
MODEL_REFERENCE = r"^(mdl|job)_[0-9a-z]{26}$"
CALIBRATION_REFERENCE = r"^(cal|job)_[0-9a-z]{26}$"
EXPERTS_REFERENCE = r"^(exp|job)_[0-9a-z]{26}$"
REPORT_REFERENCE = r"^(rep|job)_[0-9a-z]{26}$"
NAME = r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$"
FORMS: Mapping[str, str] = {
    NAME: "a name of 1 to 64 letters, digits, _, . or -, the first of them a letter or a digit",
    JOB_REFERENCE: "the id of a job: job_ and 26 characters 0-9 a-z",
    SET_REFERENCE: "the id of a distilled set or a job: set_ or job_ and 26 characters 0-9 a-z",
    MODEL_REFERENCE: "the id of a model or a job: mdl_ or job_ and 26 characters 0-9 a-z",
    CALIBRATION_REFERENCE: "the id of a calibration or a job: cal_ or job_ and 26 characters "
    "0-9 a-z",
    EXPERTS_REFERENCE: "the id of a set of experts or a job: exp_ or job_ and 26 characters "
    "0-9 a-z",
    REPORT_REFERENCE: "the id of a report or a job: rep_ or job_ and 26 characters 0-9 a-z",
}
"""What the patterns of fields ask for, in words."""


_ATTRIBUTES = re.compile(r"\n+Attributes:\n((?:    .*\n?|\n)*)")
_ATTRIBUTE = re.compile(r"^    (\w+): ((?:.|\n(?:     |\n))*)", re.M)


def described_by_docstring(schema: dict[str, Any], model: type[BaseModel]) -> None:
    """Have a model's JSON schema say of each field what `Attributes:` of its docstring says.

    Fields with a description of their own keep it; those of a base are described there.
    """
    told: dict[str, str] = {}
    for base in reversed(model.__mro__):
        section = _ATTRIBUTES.search(inspect.cleandoc(base.__doc__ or ""))
        if section is not None:
            told |= {
                name: " ".join(words.split()) for name, words in _ATTRIBUTE.findall(section[1])
            }
    for name, field in schema.get("properties", {}).items():
        if name in told:
            words = re.sub(r"\bNone\b", "null", told[name])
            field.setdefault("description", words[:1].upper() + words[1:])
    if "description" in schema:
        schema["description"] = _ATTRIBUTES.sub("", schema["description"])


def is_none(value: object) -> bool:
    """Whether a field has nothing to say: with `exclude_if` it stays out of the file then."""
    return value is None


class Spec(BaseModel):
    """A frozen request: unknown fields, wrong types, NaN and infinities are refused."""

    model_config = ConfigDict(
        extra="forbid",
        strict=True,
        frozen=True,
        allow_inf_nan=False,
        json_schema_extra=described_by_docstring,
    )


def members_of(union: object, tag: str) -> dict[str, type[Any]]:
    """The members of a union of specs, by the word that requests tell them apart by.

    Args:
        union: `A | B | ...`.
        tag: the field that holds the word, a Literal in each member.
    """
    return {
        str(word): member
        for member in get_args(union)
        for word in get_args(member.model_fields[tag].annotation)
    }


DatasetName = Annotated[
    str,
    Field(
        pattern=NAME,
        description="A data set's name as listed by GET /v1/datasets.",
        examples=["digits"],
    ),
]
Seed = Annotated[int, Field(ge=0, le=MAX_SEED, description="Seed of everything drawn at random.")]
BY_INDEX, BY_NAME = "class by index", "class by name"


def _class_tag(value: object) -> str:
    return BY_INDEX if isinstance(value, int | float) else BY_NAME


ClassChoice = Annotated[
    Annotated[int, Field(ge=0, le=1_000), Tag(BY_INDEX)]
    | Annotated[str, Field(min_length=1, max_length=64), Tag(BY_NAME)],
    Discriminator(_class_tag),
]
Classes = Annotated[
    list[ClassChoice] | None,
    Field(
        min_length=2,
        max_length=1_000,
        description=(
            "Classes to keep in all splits, by name or zero-based index; label k is the "
            "k-th class listed. Default: all."
        ),
    ),
]


class Imbalance(Spec):
    """Training images with a long tail: class k of K keeps n_max factor^(k / (K - 1)) images.

    n_max is the largest class left by the validation cut, before which nothing is taken away; no
    class gets more images than it has or fewer than one. Validation and test stay as they are.
    Source: Cui et al., CVPR 2019.
    """

    factor: float = Field(
        ge=0.001, le=1, description="Size of the last class relative to the first."
    )


LongTail = Annotated[
    Imbalance | None,
    Field(description="A long tail for the training images. Default: none, all are kept."),
]
ImagesPerClass = Annotated[int, Field(ge=1, le=1_000, description="Size of the set, a class.")]


NValidation = Annotated[
    int | None,
    Field(
        ge=1,
        le=1_000_000,
        description=(
            "Size of the validation split: real images taken from the training split, in "
            "proportion to the classes and by seed, and never used for distillation or "
            f"training. Default: one fifth of it, at most {MAX_VALIDATION_BY_DEFAULT}. A data set "
            "with a validation split of its own uses that, and takes none."
        ),
    ),
]
