"""One row of the table in words: its verdict, its status, what went wrong."""

from collections.abc import Iterable, Mapping, Sequence
from typing import assert_never

from ddcal_core.formats.calibrations import SCALING_FILES, CalibrationStatus, Failure
from ddcal_core.formats.report_rows import MeanMetrics, Row, RowStatus, Verdict
from ddcal_core.metrics import wilson_interval

# The signed gap has to explain this share of the ECE to give the miscalibration a direction.
_DIRECTED_SHARE = 0.5

VERDICT_WORDS: dict[Verdict, str] = {
    "over-confident": "over-confident",
    "under-confident": "under-confident",
    "off both ways": "over-confident here and under-confident there",
    "within chance": "as well calibrated as this test can tell",
}

STATUS_WORDS: Mapping[RowStatus, str] = {
    "ok": "",
    "separable": (
        "No temperature is best: the network gets every image it was fitted on right, so the NLL "
        "keeps falling as T → 0. Shown is that limit: every prediction at confidence 1, "
        "ECE = 1 − accuracy, NLL infinite as soon as one prediction is wrong."
    ),
    "worse_than_chance": (
        "No finite temperature is best: on the images fitted on, the labels are no likelier than "
        "chance, so the NLL keeps falling as T → ∞. Shown is that limit: every class at 1/K, "
        "ECE = |accuracy − 1/K|."
    ),
    "unidentified": (
        "Every temperature fits alike: the logits are constant on the images fitted on. "
        "The network is shown as it is, T = 1."
    ),
    "one_class": (
        "Every image fitted on has the same label: the functions of isotonic regression say that "
        "class and no other."
    ),
    "undetermined": (
        "Nothing at hand tells the temperature: the network has learned nothing from its training "
        "set, or there are two classes, and nothing could be left out, or what was left out was "
        "guessed worse than by chance. The network is shown as it is, T = 1."
    ),
    "not_converged": (
        "The optimiser stopped short of the best fit, or none is best. Shown is where it stopped."
    ),
    "not_positive": (
        "The optimiser ended at a temperature below 0, which is none. The network is shown as it "
        "is, T = 1."
    ),
    "not_finite": ("The optimiser ended at no number. The network is shown as it is, T = 1."),
    "mixed": "The networks differ in whether a temperature exists; the per-network table says how.",
}

# What stands in the findings after the names of calibrations that were not found; of one or more.
UNFITTED_WORDS: Mapping[RowStatus, tuple[str, str]] = {
    "separable": ("has no best fit", "have no best fit"),
    "worse_than_chance": ("has no best fit", "have no best fit"),
    "unidentified": ("cannot be told from T = 1", "cannot be told from T = 1"),
    "undetermined": ("could not be determined", "could not be determined"),
    "not_positive": ("ended at no temperature", "ended at no temperature"),
    "not_finite": ("ended at no temperature", "ended at no temperature"),
    "mixed": ("was found for some networks alone", "were found for some networks alone"),
}

FAILURE_WORDS: Mapping[Failure, str] = {
    "costs_accuracy": (
        "Costs accuracy: it changes predictions, and the accuracy falls below the 95 % interval "
        "of what it was."
    ),
    "class_wiped_out": (
        "A class is wiped out: some class that was predicted before is not predicted once after it."
    ),
    "over_calibration": (
        "Over-calibrated: what was fitted leaves too little confidence, so that the network is "
        "under-confident after it, whatever it was before."
    ),
    "under_calibration": (
        "Under-calibrated: what was fitted leaves too much confidence, so that the network is "
        "over-confident after it, whatever it was before."
    ),
    "accuracy_lost": (
        "Accuracy lost: so much was masked while T was fitted that the network kept less than half "
        "of the accuracy beyond guessing that it has on the same images unmasked."
    ),
    "nearly_uniform": (
        "Nearly uniform: T is more than 10 times the spread of the logits (largest minus mean of a "
        "row), so that every class gets about the same probability."
    ),
    "nearly_certain": (
        "Nearly certain: T is less than a fiftieth of the spread of the logits (largest minus mean "
        "of a row), so that nearly every prediction is given confidence 1."
    ),
}
_FAILED_DIRECTION: Mapping[Verdict, Failure] = {
    "over-confident": "under_calibration",
    "under-confident": "over_calibration",
}


def percent(fraction: float, digits: int = 1) -> str:
    """Write a fraction as percent, with a narrow space and a true minus sign."""
    number = f"{100 * fraction:.{digits}f}"
    # "−0.0" would read as a small negative number.
    if float(number) == 0:
        number = number.lstrip("-")
    return f"{number} %".replace("-", "−").replace(" ", "\u202f")


def is_fitted(status: RowStatus) -> bool:
    """Whether what is shown is a calibration that was found, be it not the best of its kind."""
    match status:
        case "ok" | "not_converged" | "one_class":
            return True
        case (
            "separable"
            | "worse_than_chance"
            | "unidentified"
            | "undetermined"
            | "not_positive"
            | "not_finite"
            | "mixed"
        ):
            return False
        case _:
            assert_never(status)


def may_win(row: Row) -> bool:
    """Whether a calibration may be called the best: it was found, and it took nothing."""
    return is_fitted(row.status) and not {"costs_accuracy", "class_wiped_out"} & set(row.failures)


def is_guessing(row: Row) -> bool:
    """Whether networks are right no more often than their predictions in random order would be.

    Within the 95 % interval of that; their confidence then means nothing.
    """
    if row.guessing is None:
        return False
    return row.before.accuracy.mean <= wilson_interval(row.guessing, row.n_test)[1]


def common_status(statuses: Iterable[CalibrationStatus]) -> RowStatus:
    """One status for several networks: theirs, or "mixed"; some short of the best is short."""
    seen = set(statuses)
    if seen == {"ok", "not_converged"}:
        return "not_converged"
    return seen.pop() if len(seen) == 1 else "mixed"


def verdict_of(ece: float, signed_gap: float, null_p95: float) -> Verdict:
    """Name the direction of a miscalibration, if there is more of it than chance shows.

    Args:
        ece: in [0, 1].
        signed_gap: mean confidence - accuracy.
        null_p95: 95 % point of the ECE that a perfectly calibrated model shows.
    """
    if ece <= null_p95:
        return "within chance"
    if signed_gap > _DIRECTED_SHARE * ece:
        return "over-confident"
    if signed_gap < -_DIRECTED_SHARE * ece:
        return "under-confident"
    return "off both ways"


def failures_of(
    method: str, verdict: Verdict, status: RowStatus, fitted: Iterable[Sequence[Failure]]
) -> list[Failure]:
    """Name what went wrong in one row of the table.

    Args:
        method: of the calibration; none cannot fail.
        verdict: on the test images, which decides whether too much or too little was scaled.
        status: of the fits; where there is no temperature the status says what went wrong.
        fitted: the failures that each network's calibration was given when it was fitted.
    """
    if method == "none":
        return []
    seen = {name for names in fitted for name in names} - set(_FAILED_DIRECTION.values())
    if is_fitted(status) and verdict in _FAILED_DIRECTION:
        seen.add(_FAILED_DIRECTION[verdict])
    return [name for name in FAILURE_WORDS if name in seen]


def describe_row(
    shown: MeanMetrics, verdict: Verdict, status: RowStatus, failures: Iterable[Failure]
) -> str:
    """Say in a sentence or two what one row of the table shows."""
    ece, gap, chance = shown.ece.mean, shown.signed_gap.mean, shown.null_p95.mean
    words = {
        "over-confident": f"Over-confident: confidence exceeds accuracy by {percent(gap)}",
        "under-confident": f"Under-confident: confidence falls short of accuracy by "
        f"{percent(-gap)}",
        "off both ways": "Miscalibrated both ways: over-confident in some bins, under-confident "
        "in others",
        "within chance": "Within what chance shows",
    }[verdict]
    level = f"ECE {percent(ece)}, chance alone reaches {percent(chance)}"
    failed = [FAILURE_WORDS[name] for name in failures]
    return " ".join(filter(None, [f"{words} ({level}).", STATUS_WORDS[status], *failed]))


def temperature_words(row: Row) -> str:
    """Write a row's temperature, or what stands in its place."""
    found, status = row.temperature, row.status
    limits = {"separable": "→ 0", "worse_than_chance": "→ ∞", "unidentified": "any"}
    if status in limits:
        return limits[status]
    if found.mean is None:
        return "–" if row.method in SCALING_FILES and is_fitted(status) else "none"
    # Not 1.8e+02 for 179.
    form = ".2g" if found.std is None or found.std < 10 else ".0f"
    deviation = "" if found.std is None else f" ± {found.std:{form}}"
    some = f" ({found.n} of {row.n_networks})" if status == "mixed" else ""
    return f"{found.mean:.3g}{deviation}{some}" if row.method != "none" else "1"
