"""What the numbers say, in words."""

from collections.abc import Iterable, Mapping, Sequence
from typing import assert_never

from ddcal_core.formats.calibrations import SCALING_FILES, CalibrationStatus, Failure
from ddcal_core.formats.report_rows import MeanMetrics, Row, RowStatus, Verdict

# The signed gap has to explain this share of the ECE to give the miscalibration a direction.
_DIRECTED_SHARE = 0.5

_VERDICT_WORDS: dict[Verdict, str] = {
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

FAILURE_WORDS: Mapping[Failure, str] = {
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
    deviation = "" if found.std is None else f" ± {found.std:.2g}"
    some = f" ({found.n} of {row.n_networks})" if status == "mixed" else ""
    return f"{found.mean:.3g}{deviation}{some}" if row.method != "none" else "1"


def findings(dataset: str, rows: Sequence[Row]) -> list[str]:
    """Say the findings, the main one first.

    Args:
        dataset: its name.
        rows: of the table, those of one training set together, `none` first.

    Returns:
        Sentences: the first training set as it is; what calibration made of it; the others.
    """
    by_set: dict[int, list[Row]] = {}
    for row in rows:
        by_set.setdefault(row.training_set_index, []).append(row)
    (as_it_is, *calibrated), *others = by_set.values()
    first = (
        f"On {dataset}, {_networks(as_it_is)} trained on {as_it_is.training_images} "
        f"{_are(as_it_is)} {_confidence_words(as_it_is)}."
    )
    others_alike = [own[0] for own in others if own[0].loss == as_it_is.loss]
    of_losses = [own for own in others if own[0].loss != as_it_is.loss]
    said = [first, _of_calibrations(calibrated), _of_others(others_alike)]
    if of_losses:
        said.append(_of_losses([[as_it_is, *calibrated], *of_losses]))
    return [sentence for sentence in said if sentence]


def _networks(row: Row) -> str:
    return "the network" if row.n_networks == 1 else f"the {row.n_networks} networks"


def _are(row: Row) -> str:
    return "is" if row.n_networks == 1 else "are"


def _confidence_words(row: Row) -> str:
    ece, share, chance = (percent(one.mean) for one in (row.ece, row.accuracy, row.null_p95))
    verdict = _VERDICT_WORDS[row.verdict]
    return f"{verdict}: ECE {ece} at {share} accuracy, where chance alone reaches {chance}"


def _of_calibrations(rows: Sequence[Row]) -> str:
    # Best on test, so a reader must not take it for a way to choose: hence "of those tried".
    fitted = [row for row in rows if is_fitted(row.status)]
    sentences = []
    if fitted:
        best = min(fitted, key=lambda row: row.ece.mean)
        lead = f"Of the {len(rows)} calibrations tried, " if len(rows) > 1 else ""
        sentences.append(_capitalised(f"{lead}{best.calibration} {_effect(best)}."))
        worse = [row.calibration for row in fitted if _change(row) > 0 and row is not best]
        if worse:
            sentences.append(_capitalised(f"{_listed(worse)} made it worse."))
    short = [row.calibration for row in fitted if row.status == "not_converged"]
    if short:
        sentences.append(f"{_listed(short)} stopped short of the best fit.")
    failed = [row.calibration for row in rows if not is_fitted(row.status)]
    if failed:
        has = "has" if len(failed) == 1 else "have"
        sentences.append(_capitalised(f"{_listed(failed)} {has} no best temperature."))
    return " ".join(sentences)


def _capitalised(sentence: str) -> str:
    return sentence[0].upper() + sentence[1:]


def _change(row: Row) -> float:
    return row.ece.mean - row.before.ece.mean


def _effect(row: Row) -> str:
    ece = percent(row.ece.mean)
    how = f"does not lower the ECE ({ece})" if _change(row) >= 0 else f"brings the ECE to {ece}"
    if row.verdict == "within chance":
        return f"{how}, within what chance shows"
    return f"{how}; the networks are then {_VERDICT_WORDS[row.verdict]}"


def _of_others(rows: Sequence[Row]) -> str:
    if not rows:
        return ""
    said = [
        f"those trained on {row.training_images} are {_VERDICT_WORDS[row.verdict]} "
        f"(ECE {percent(row.ece.mean)} at {percent(row.accuracy.mean)} accuracy)"
        for row in rows
    ]
    return f"For comparison, {'; '.join(said)}."


def _of_losses(of_sets: Sequence[Sequence[Row]]) -> str:
    """Say each loss's ECE before and after the same temperature scaling."""
    said = []
    for as_it_is, *calibrated in of_sets:
        words = f"{percent(as_it_is.ece.mean)} with {as_it_is.loss}"
        scaled = [row for row in calibrated if _is_exact_ts(row) and row.status == "ok"]
        if scaled:
            ece = percent(scaled[0].ece.mean)
            words += f" ({ece} after {scaled[0].calibration})"
        said.append(words)
    return f"By the loss trained with, the ECE is {_listed(said)}."


def _is_exact_ts(row: Row) -> bool:
    return row.method == "ts" and row.optimiser in {None, "exact"}


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
