"""`study`: a pipeline many times over, with what varies; one table and one page come of it."""

from decimal import Decimal
from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag, model_validator

from ddcal_core.specs.decision_rules import DecisionRules, SettingPath, SettingValue
from ddcal_core.specs.fields import JOB_REFERENCE, NAME, DatasetName, Spec
from ddcal_core.specs.kinds.compare import MAX_COMPARED, Settings

MAX_CELLS = MAX_COMPARED
MAX_VARIED = 16


class ValueRange(Spec):
    """Numbers from start to stop, both taken, a step apart."""

    start: float = Field(description="The first.")
    stop: float = Field(description="The last, where steps lead to it; none is beyond it.")
    step: float = Field(gt=0, description="From one to the next.")

    @model_validator(mode="after")
    def _is_no_longer_than_a_study(self) -> "ValueRange":
        if self.stop < self.start:
            raise ValueError(f"wanted stop at or above start, got {self.stop} below {self.start}")
        if (self.stop - self.start) / self.step >= MAX_CELLS:
            raise ValueError(f"wanted at most {MAX_CELLS:,} values, got more")
        return self

    def values(self) -> list[SettingValue]:
        """The numbers, without the noise of adding fractions: 0.3 and not 0.30000000000000004."""
        start, stop, step = (Decimal(repr(one)) for one in (self.start, self.stop, self.step))
        found = [start + k * step for k in range(int((stop - start) / step) + 1)]
        return [int(one) if one == one.to_integral_value() else float(one) for one in found]


class NamedVariants(Spec):
    """Several fields set together, under a name: a method with what it needs, say."""

    variants: dict[
        Annotated[str, Field(pattern=NAME)],
        Annotated[dict[SettingPath, Any], Field(max_length=100)],
    ] = Field(min_length=1, max_length=100, description="Name -> path -> value.")


OF_VALUES, OF_RANGE, OF_VARIANTS = "values", "range", "variants"


def _varied_tag(value: object) -> str:
    if not isinstance(value, dict | ValueRange | NamedVariants):
        return OF_VALUES
    names = value if isinstance(value, dict) else value.model_fields_set
    return OF_VARIANTS if "variants" in names else OF_RANGE


Varied = Annotated[
    Annotated[list[SettingValue], Field(min_length=1, max_length=MAX_CELLS), Tag(OF_VALUES)]
    | Annotated[ValueRange, Tag(OF_RANGE)]
    | Annotated[NamedVariants, Tag(OF_VARIANTS)],
    Discriminator(_varied_tag),
]
Vary = Annotated[
    dict[SettingPath, Varied],
    Field(
        max_length=MAX_VARIED,
        description="Path in the params of a pipeline -> its values, as a list or a range; or a "
        "name of your own -> named variants, which set several paths each.",
        examples=[{"distill.mask.ratio": [0, 0.1, 0.3], "seed": [0, 1, 2]}],
    ),
]
Exclusion = Annotated[
    dict[SettingPath, SettingValue],
    Field(min_length=1, description="Path, or name of variants -> value."),
]


class StudyParams(Spec):
    """The params of a `study`: a pipeline and what varies, or the name of a study that is fixed.

    With `extends` or `named`, what is left out is as that study has it, and is filled in.
    """

    base: dict[str, Any] | None = Field(
        None,
        description="The params of a pipeline; those that vary may be missing.",
        examples=[{"dataset": "digits", "distill": {"method": "dm", "images_per_class": 1}}],
    )
    vary: Vary = Field({}, validate_default=True)
    combine: Literal["crossed", "zipped"] = Field(
        "crossed",
        description="crossed: every combination of the values; zipped: the first of each together, "
        "then the second.",
    )
    exclude: list[Exclusion] = Field(
        [], max_length=100, description="Cells to leave out: those that have all values of one."
    )
    reference: Settings | None = Field(
        None,
        description="Values that the others are compared with, pair by pair of equal seed. "
        "Default: the first of each.",
    )
    rules: DecisionRules = Field(
        [], max_length=50, description="Statements to decide, fixed before anything runs."
    )
    extends: str | None = Field(
        None,
        pattern=JOB_REFERENCE,
        description="A study to go on from: values given here are added to its own, and whatever "
        "of it has succeeded is taken over.",
    )
    named: str | None = Field(
        None,
        pattern=NAME,
        description="A study whose fields, values and rules are fixed; `ddcal studies` lists them.",
        examples=["mts-ratio"],
    )
    dataset: DatasetName | None = Field(None, description="Of a named study: the data set.")
    preset: Literal["smoke", "published"] | None = Field(
        None, description="Of a named study: its budget. Default: smoke, for two CPU cores."
    )
    published_for: Annotated[str, Field(pattern=NAME)] | None = Field(
        None,
        description="Of a named study with preset published: the data set of the papers that this "
        "one is, where its name is another; see `distill.published_for`.",
    )
    seeds: int | None = Field(
        None, ge=1, le=100, description="Of a named study: how many. Default: as its rules need."
    )
    version: int | None = Field(
        None, ge=1, description="Of a named study: of its definition. Default: the present one."
    )

    @model_validator(mode="after")
    def _says_what_varies(self) -> "StudyParams":
        if self.named is not None and self.extends is not None:
            raise ValueError("wanted named or extends, got both: extend the study that was named")
        if self.named is None:
            own = [name for name in OF_NAMED if getattr(self, name) is not None]
            if own and self.extends is None:
                raise ValueError(f"wanted {', '.join(own)} with a named study alone, got no named")
        elif self.dataset is None:
            raise ValueError("wanted the dataset of the named study, got none")
        if self.named is None and self.extends is None and (self.base is None or not self.vary):
            raise ValueError("wanted base and vary, or extends, or named; got none of them whole")
        return self


OF_NAMED = ("dataset", "preset", "published_for", "seeds", "version")
