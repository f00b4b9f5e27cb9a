"""Rules fixed before results are seen: what confirms a statement, what refutes it."""

import math
from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from ddcal_core.specs.calibration import FitOn
from ddcal_core.specs.fields import NAME, Spec

SettingScalar = Annotated[str, Field(max_length=200)] | int | float | bool | None
SettingValue = SettingScalar | Annotated[list[SettingScalar], Field(max_length=100)]
"""What a field of a pipeline's params is set to."""
SettingPath = Annotated[
    str,
    Field(
        min_length=1,
        max_length=200,
        description="Path of a field in the params of a pipeline.",
        examples=["distill.mask.ratio"],
    ),
]
RuleMetric = Literal[
    "accuracy",
    "nll",
    "brier",
    "ece",
    "signed_gap",
    "root_mean_square_calibration_error",
    "maximum_calibration_error",
    "adaptive_calibration_error",
    "classwise_calibration_error",
    "debiased_calibration_error",
    "smooth_calibration_error",
    "area_under_risk_coverage",
    "probe_rotation",
    "probe_position",
    "probe_brightness",
    "probe_colour",
    "attribution_concentration",
    "attribution_deletion",
    "attribution_insertion",
]
"""Numbers of one network under one calibration, by their names in a report's table; what probes and
attributions say is of the network alone, whatever its calibration, where the report has them."""
RuleSource = Literal["distilled", "random", "taught", "herding", "full"]
RuleMethod = Literal["none", "ts", "mts", "vector", "isotonic", "ets"]
MaskRatios = Annotated[
    list[Annotated[float, Field(ge=0, lt=1)]] | Literal["auto"] | None,
    Field(description='Of mts: mask ratios, each by itself, or "auto" where it was left open.'),
]
SettingChoice = Annotated[
    dict[SettingPath, Annotated[list[SettingValue], Field(min_length=1, max_length=100)]],
    Field(max_length=20, description="Path -> the values taken, each by itself."),
]


class RowChoice(Spec):
    """Rows that a statement is about: which results, which networks, which calibration.

    Of several values each is a candidate of its own.
    """

    settings: SettingChoice = Field({}, description="Default: whatever they are.")
    training_set: RuleSource = Field("distilled", description="What the networks were trained on.")
    method: RuleMethod = Field("none", description="Their calibration; none: as trained.")
    fit_on: FitOn | None = Field(None, description="What it was fitted on; null: whichever.")
    mask_ratios: MaskRatios = None

    @model_validator(mode="after")
    def _has_ratios_with_mts_alone(self) -> "RowChoice":
        if (self.method == "mts") != (self.mask_ratios is not None):
            raise ValueError(
                f"wanted mask_ratios with method mts and with no other; got {self.method} and "
                f"{self.mask_ratios}"
            )
        return self


class OtherRows(Spec):
    """Rows compared with: what is left out is as in the candidate."""

    settings: SettingChoice = Field({}, description="Default: as in the candidate.")
    training_set: RuleSource | None = Field(None, description="null: the same.")
    method: RuleMethod | None = Field(None, description="null: the same, with its fit_on and mask.")
    fit_on: FitOn | None = Field(None, description="With a method; null: whichever.")
    mask_ratios: MaskRatios = None

    @model_validator(mode="after")
    def _is_another(self) -> "OtherRows":
        if not self.settings and self.training_set is None and self.method is None:
            raise ValueError("wanted settings, training_set or method, as something has to differ")
        if self.method is None and (self.fit_on is not None or self.mask_ratios is not None):
            raise ValueError("wanted a method with fit_on and mask_ratios; got none")
        if self.method is not None and (self.method == "mts") != (self.mask_ratios is not None):
            raise ValueError(
                f"wanted mask_ratios with method mts and with no other; got {self.method} and "
                f"{self.mask_ratios}"
            )
        return self


class DecisionRule(Spec):
    """A statement, and what decides it.

    A candidate is each combination of the values that `of` lists. It is compared with all of
    `against`, on results that agree in every other setting, pair by pair of equal seed. With the
    interval of the paired differences, candidate minus other, wholly where `expected` says, a
    comparison is confirmed; with the interval wholly elsewhere, refuted. What is not decided, or
    has fewer paired seeds than `min_seeds`, is open. Where one of several comparisons would be
    enough for a verdict, the interval's level is raised for them all together (Bonferroni).
    """

    name: Annotated[str, Field(pattern=NAME, description="Of the rule, unlike any other's.")]
    statement: str = Field(min_length=1, max_length=500, description="What is decided, in words.")
    metric: RuleMetric = Field("ece", description="What is compared.")
    of: RowChoice = Field(description="What the statement is about.")
    against: list[OtherRows] = Field(
        min_length=1, max_length=8, description="What each candidate is compared with: all of it."
    )
    expected: Literal["lower", "higher", "not_lower", "not_higher", "equal"] = Field(
        description="lower, higher: by more than margin; not_lower, not_higher: by less than "
        "margin; equal: within margin."
    )
    margin: float = Field(0.0, ge=0, le=1e6, description="In the metric's unit; of fractions 0.01.")
    over: Literal["every", "some"] = Field(
        "every", description="Whether every candidate has to be as expected, or one is enough."
    )
    level: float = Field(0.95, ge=0.5, lt=1, description="Of the intervals of paired differences.")
    min_seeds: int = Field(8, ge=2, le=1_000, description="Fewer paired seeds decide nothing.")

    @model_validator(mode="after")
    def _has_a_margin_to_be_equal_within(self) -> "DecisionRule":
        if self.expected == "equal" and self.margin == 0:
            raise ValueError("margin: wanted above 0 with expected equal; got 0")
        return self


def _under_names_of_their_own(rules: list[DecisionRule]) -> list[DecisionRule]:
    names = [rule.name for rule in rules]
    if len(set(names)) < len(names):
        raise ValueError("wanted each rule under a name of its own, got a name twice")
    return rules


DecisionRules = Annotated[list[DecisionRule], AfterValidator(_under_names_of_their_own)]


def setting_key(value: object) -> object:
    """Give what is equal for equal settings alone: 0 and 0.0 are, 1 and true are not."""
    if isinstance(value, list | tuple):
        return ("list", *map(setting_key, value))
    if isinstance(value, bool) or value is None or isinstance(value, str):
        return (type(value).__name__, value)
    # Python compares whole numbers of any size with fractions exactly; float() overflows.
    if isinstance(value, int) or (isinstance(value, float) and math.isfinite(value)):
        return ("number", value)
    raise TypeError(f"wanted a setting as JSON has it; got {value!r}")


def settings_key(settings: Mapping[str, object]) -> frozenset[tuple[str, object]]:
    """Likewise of settings together."""
    return frozenset((path, setting_key(value)) for path, value in settings.items())
