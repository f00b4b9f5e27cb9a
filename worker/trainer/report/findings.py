"""What the numbers say, in words: the findings of a report, the main one first."""

from collections.abc import Mapping, Sequence

from ddcal_core.formats.report_rows import Row
from worker.trainer.report.calibration_words import CARRIED
from worker.trainer.report.network_words import NOT_KNOWN
from worker.trainer.report.row_words import (
    UNFITTED_WORDS,
    VERDICT_WORDS,
    is_fitted,
    is_guessing,
    may_win,
    percent,
)


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
    if is_guessing(as_it_is):
        headline, further = _of_guessing(dataset, as_it_is), ""
    else:
        best = _best_by_what_was_used(calibrated)
        headline = _headline(dataset, as_it_is, best)
        named = [_capitalised(f"{one.calibration} {_effect(one)}.") for one in best.values()]
        further = " ".join([*named, _of_calibrations(calibrated, best)]).strip()
    of_losses = [own for own in others if _are_other_losses(own[0].loss, as_it_is.loss)]
    others_alike = [own[0] for own in others if own not in of_losses]
    said = [headline, further, _of_others(others_alike)]
    if of_losses:
        said.append(_of_losses([[as_it_is, *calibrated], *of_losses]))
    return [sentence for sentence in said if sentence]


def _headline(dataset: str, row: Row, best: Mapping[str, Row]) -> str:
    """Say how far off networks are as trained, and what is left by what a calibration has seen."""
    eces = [f"{percent(one.ece.mean)} {used}" for used, one in best.items()]
    after = f"; once calibrated {_listed(eces)}" if eces else ""
    return (
        f"On {dataset}, {_networks(row)} trained on {row.training_images} {_are(row)} "
        f"{_confidence_words(row)}{after}."
    )


def _of_guessing(dataset: str, row: Row) -> str:
    guess = "guesses" if row.n_networks == 1 else "guess"
    assert row.guessing is not None
    return (
        f"On {dataset}, {_networks(row)} trained on {row.training_images} {guess}: accuracy "
        f"{percent(row.accuracy.mean)}, where the same predictions in random order get "
        f"{percent(row.guessing)}. No calibration of {'it' if row.n_networks == 1 else 'them'} is "
        "recommended."
    )


def by_what_was_used(rows: Sequence[Row]) -> dict[str, list[Row]]:
    """Group calibrations by what they have seen, those of no label first; none without a row."""
    groups = {
        "from the training images alone": [
            row for row in rows if row.fit_on == "training_set" and row.calibration != CARRIED
        ],
        "with labels used when the set was made": [r for r in rows if r.calibration == CARRIED],
        "with labelled validation images": [row for row in rows if row.fit_on == "validation"],
        "by the rows fitted on": [row for row in rows if row.fit_on == "fit rows"],
    }
    return {used: group for used, group in groups.items() if group}


def best_row(rows: Sequence[Row]) -> Row | None:
    """Give the one of lowest ECE on test, which is no way to choose; None if none may win."""
    return min(filter(may_win, rows), key=lambda row: row.ece.mean, default=None)


def _best_by_what_was_used(rows: Sequence[Row]) -> dict[str, Row]:
    """The best that saw no label, labels when the set was made, and labels now, by these words."""
    found = {used: best_row(group) for used, group in by_what_was_used(rows).items()}
    return {used: row for used, row in found.items() if row is not None}


def _networks(row: Row) -> str:
    return "the network" if row.n_networks == 1 else f"the {row.n_networks} networks"


def _are(row: Row) -> str:
    return "is" if row.n_networks == 1 else "are"


def _confidence_words(row: Row) -> str:
    ece, share, chance = (percent(one.mean) for one in (row.ece, row.accuracy, row.null_p95))
    verdict = VERDICT_WORDS[row.verdict]
    return f"{verdict}: ECE {ece} at {share} accuracy, where chance alone reaches {chance}"


def _of_calibrations(rows: Sequence[Row], best: Mapping[str, Row]) -> str:
    """Say which calibrations did harm, stopped short or were not found."""
    sentences = []
    named = [row.calibration for row in best.values()]
    harmful = [row.calibration for row in rows if is_fitted(row.status) and _change(row) > 0]
    worse = [calibration for calibration in harmful if calibration not in named]
    if worse:
        sentences.append(_capitalised(f"{_listed(worse)} made the ECE worse."))
    sentences += [_cost_words(row) for row in rows if is_fitted(row.status) and not may_win(row)]
    fitted = [row for row in rows if is_fitted(row.status)]
    short = [row.calibration for row in fitted if row.status == "not_converged"]
    if short:
        sentences.append(f"{_listed(short)} stopped short of the best fit.")
    failed: dict[tuple[str, str], list[str]] = {}
    for row in rows:
        if not is_fitted(row.status):
            failed.setdefault(UNFITTED_WORDS[row.status], []).append(row.calibration)
    for (of_one, of_more), names in failed.items():
        what = of_one if len(names) == 1 else of_more
        sentences.append(_capitalised(f"{_listed(names)} {what}."))
    return " ".join(sentences)


def _cost_words(row: Row) -> str:
    before, after = percent(row.before.accuracy.mean), percent(row.accuracy.mean)
    cost = f"takes the accuracy from {before} to {after}"
    if "class_wiped_out" in row.failures:
        cost += " and no longer names a class that the networks named before"
    return _capitalised(f"{row.calibration} {cost}; it is not counted among the best.")


def _capitalised(sentence: str) -> str:
    return sentence[0].upper() + sentence[1:]


def _change(row: Row) -> float:
    return row.ece.mean - row.before.ece.mean


def _effect(row: Row) -> str:
    ece = percent(row.ece.mean)
    how = f"does not lower the ECE ({ece})" if _change(row) >= 0 else f"brings the ECE to {ece}"
    if row.verdict == "within chance":
        return f"{how}, within what chance shows"
    return f"{how}; the networks are then {VERDICT_WORDS[row.verdict]}"


def _of_others(rows: Sequence[Row]) -> str:
    if not rows:
        return ""
    said = [
        f"those trained on {row.training_images} are {VERDICT_WORDS[row.verdict]} "
        f"(ECE {percent(row.ece.mean)} at {percent(row.accuracy.mean)} accuracy)"
        for row in rows
    ]
    return f"For comparison, {'; '.join(said)}."


def _are_other_losses(loss: str, other: str) -> bool:
    """Are both known, and not the same?"""
    return loss != other and NOT_KNOWN not in (loss, other)


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
