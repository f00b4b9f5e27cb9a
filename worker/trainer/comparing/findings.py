"""What a comparison says, in sentences: verdicts in short, the best, what it costs, verdicts."""

from collections import Counter
from collections.abc import Iterator, Sequence

from ddcal_core.formats.comparisons import Difference, Series, Verdict
from worker.trainer.comparing.cells import AS_TRAINED
from worker.trainer.comparing.samples import Settings
from worker.trainer.comparing.words import (
    FEW_SEEDS,
    METRIC_WORDS,
    amount,
    points,
    range_words,
    settings_words,
    short,
    side_words,
)

FEWEST_TO_DRAW = 2
"""Draws from so few seeds, or fewer, hardly differ from each other."""


def findings(
    *,
    n_results: int,
    n_missing: int,
    series: Sequence[Series],
    differences: Sequence[Difference],
    verdicts: Sequence[Verdict],
) -> list[str]:
    """Write the sentences, the headline first."""
    found = [
        *_best_words(series),
        *_fall_words(series, differences),
        *([] if series else _difference_words(differences)),
    ]
    if not found and not verdicts:
        found = [f"{n_results} results side by side; no two of them make a pair."]
    found = [*_verdicts_in_short(verdicts), *found]
    found += [f"{one.rule.statement} {one.words}" for one in verdicts]
    if n_missing:
        has = "has" if n_missing == 1 else "have"
        found.append(f"{n_missing} of {n_missing + n_results} {has} no report, and no row here.")
    return found + _caution(series, differences)


def _verdicts_in_short(verdicts: Sequence[Verdict]) -> Iterator[str]:
    """How many statements have each verdict: what a study with rules was run for."""
    if verdicts:
        counts = Counter(one.outcome for one in verdicts)
        told = ", ".join(f"{n} {outcome}" for outcome, n in sorted(counts.items()))
        yield f"{len(verdicts)} statement{'s' if len(verdicts) > 1 else ''}: {told}."


def _main(series: Sequence[Series], metric: str) -> list[Series]:
    """Those of the first setting and training set, as trained; a sentence for each few others."""
    own = [one for one in series if one.metric == metric and one.calibration == AS_TRAINED]
    first = [
        one for one in own if (one.path, one.training_set) == (own[0].path, own[0].training_set)
    ]
    return first[:3]


def _best_words(series: Sequence[Series]) -> Iterator[str]:
    for one in _main(series, "ece"):
        name, where = short(one.path), _where(one.held)
        at = {point.x: point for point in one.points}
        if one.best is None or one.best.n < 2:
            values = ", ".join(
                f"{amount('ece', point.mean)} at {point.x:g}" for point in one.points
            )
            is_one = all(point.n == 1 for point in one.points)
            why = f"one {one.unit} says nothing of others" if is_one else "no two share their seeds"
            yield f"ECE as trained{where}, by {name}: {values}; {why}."
            continue
        best = at[one.best.value]
        low, high = one.best.interval or (best.x, best.x)
        range_ = f"at {low:g}" if low == high else f"between {low:g} and {high:g}"
        yield (
            f"ECE as trained{where} is lowest at {name} {best.x:g}: {amount('ece', best.mean)}, "
            f"mean of {one.best.n} {one.unit}s."
        )
        if one.best.n > FEWEST_TO_DRAW:
            yield (
                f"Where that best lies, with {one.unit}s drawn anew from these: {range_} in 95 % "
                "of draws."
            )


def _fall_words(series: Sequence[Series], differences: Sequence[Difference]) -> Iterator[str]:
    for one in _main(series, "accuracy"):
        name, where = short(one.path), _where(one.held)
        if one.falls_at is not None:
            fallen = next(own for own in differences if _is_fall(own, one))
            yield (
                f"Accuracy{where} begins to fall at {name} {one.falls_at:g}: "
                f"{points('accuracy', fallen.mean)} against the base (95 % interval "
                f"{range_words('accuracy', fallen.interval)})."
            )
        elif min(point.n for point in one.points) > 1:
            yield f"Accuracy{where} falls at no {name} by more than its interval."


def _is_fall(difference: Difference, one: Series) -> bool:
    """Whether a difference is the one at which a series' accuracy begins to fall."""
    of, against = difference.of, difference.against
    return (
        difference.metric == "accuracy"
        and (of.training_set, of.calibration) == (one.training_set, one.calibration)
        and of.settings[one.path] == one.falls_at
        and against.settings[one.path] != one.falls_at
        and all(
            of.settings[path] == value == against.settings[path] for path, value in one.held.items()
        )
    )


def _difference_words(differences: Sequence[Difference]) -> Iterator[str]:
    shown = [one for one in differences if one.of.calibration == AS_TRAINED][:6]
    for one in shown:
        what = f"{METRIC_WORDS[one.metric]} as trained"
        beside = f"{side_words(one.of, one.against)} against {side_words(one.against, one.of)}"
        if one.interval is None:
            yield (
                f"{what}, {beside}: one pair, {points(one.metric, one.mean)}, which says nothing "
                "of others."
            )
            continue
        yield (
            f"{what}, {beside}: {points(one.metric, one.mean)} (95 % interval "
            f"{range_words(one.metric, one.interval)}, {one.n} {one.unit}s)."
        )


def _where(held: Settings) -> str:
    words = settings_words(held)
    return f" with {words}" if words else ""


def _caution(series: Sequence[Series], differences: Sequence[Difference]) -> list[str]:
    """Say what the numbers of values allow."""
    units = {one.unit for one in series} | {one.unit for one in differences}
    counts = [one.n for one in differences] + [p.n for one in series for p in one.points]
    if not counts:
        return []
    said = []
    if units == {"seed"} and not differences:
        said.append(
            "No two of these results share a seed, so nothing is paired: give results that are to "
            "be compared the same seeds."
        )
    if units == {"network"}:
        said.append(
            "All results are of one seed: intervals are over networks of the same set, and tell "
            "nothing of other sets."
        )
    if 1 < min(counts) < FEW_SEEDS:
        units_words = "networks" if units == {"network"} else "seeds"
        said.append(
            f"{min(counts)} {units_words} are few: intervals by Student's t are wide, and take a "
            f"normal distribution on trust. Take {FEW_SEEDS} or more to decide anything."
        )
    return said
