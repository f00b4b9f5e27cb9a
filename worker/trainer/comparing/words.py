"""What is compared, in words: settings, sides, numbers with their sign and unit."""

import json
from collections.abc import Mapping

from ddcal_core.formats.comparisons import Side
from ddcal_core.specs.decision_rules import RuleMetric, SettingValue

METRIC_WORDS: Mapping[RuleMetric, str] = {
    "accuracy": "accuracy",
    "nll": "NLL",
    "brier": "Brier score",
    "ece": "ECE",
    "signed_gap": "signed gap",
    "root_mean_square_calibration_error": "root mean square calibration error",
    "maximum_calibration_error": "maximum calibration error",
    "adaptive_calibration_error": "adaptive calibration error",
    "classwise_calibration_error": "classwise calibration error",
    "debiased_calibration_error": "debiased calibration error",
    "smooth_calibration_error": "smooth calibration error",
    "area_under_risk_coverage": "area under the risk-coverage curve",
    "probe_rotation": "rotation read by a linear probe",
    "probe_position": "position read by a linear probe",
    "probe_brightness": "brightness read by a linear probe",
    "probe_colour": "colour read by a linear probe",
    "attribution_concentration": "concentration of attributions",
    "attribution_deletion": "deletion",
    "attribution_insertion": "insertion",
}
NOT_IN_POINTS: frozenset[RuleMetric] = frozenset({"nll", "brier", "debiased_calibration_error"})
FEW_SEEDS = 8
"""With fewer, an interval by Student's t says more about the t than about the networks."""


def points(metric: RuleMetric, difference: float) -> str:
    """Write a difference with its sign: of fractions in percentage points."""
    return f"{_signed(metric, difference)}{'' if metric in NOT_IN_POINTS else ' points'}"


def range_words(metric: RuleMetric, interval: tuple[float, float] | None) -> str:
    """Write an interval of differences, without the unit."""
    if interval is None:
        return "none"
    return " to ".join(_signed(metric, end) for end in interval)


def _signed(metric: RuleMetric, value: float) -> str:
    digits = 4 if metric in NOT_IN_POINTS else 2
    shown = value if metric in NOT_IN_POINTS else 100 * value
    rounded = round(shown, digits)
    sign = "" if rounded == 0 else "−" if rounded < 0 else "+"
    return f"{sign}{abs(rounded):.{digits}f}"


def amount(metric: RuleMetric, value: float) -> str:
    """Write a number: of fractions in percent."""
    return f"{value:.4f}" if metric in NOT_IN_POINTS else f"{100 * value:.2f} %"


def value_words(value: SettingValue) -> str:
    """Write a setting's value."""
    if isinstance(value, str):
        return value
    if isinstance(value, float):
        return f"{value:g}"
    return "none" if value is None else json.dumps(value)


def settings_words(settings: Mapping[str, SettingValue]) -> str:
    """Write settings by the last part of their paths that tells them apart."""
    return ", ".join(f"{short(path)} {value_words(value)}" for path, value in settings.items())


def short(path: str) -> str:
    """Shorten a path to what people call it."""
    return _NAMES.get(path, path)


_NAMES: Mapping[str, str] = {
    "distill.mask.ratio": "MDT mask ratio",
    "distill.images_per_class": "images per class",
    "distill.method": "method",
    "dataset": "data set",
    "seed": "seed",
}


def side_words(side: Side, other: Side) -> str:
    """Write a side by what sets it apart from the other."""
    apart = {
        path: value
        for path, value in side.settings.items()
        if path not in other.settings or other.settings[path] != value
    }
    said = [settings_words(apart)] if apart else []
    if side.training_set != other.training_set:
        said.append(side.training_set)
    if side.calibration != other.calibration:
        said.append(side.calibration)
    return ", ".join(said)
