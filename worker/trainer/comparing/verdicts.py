"""Rules fixed beforehand -> confirmed, refuted or open, by paired differences over seeds."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import assert_never

from ddcal_core.formats.comparisons import Outcome, RuleComparison, Side, Verdict
from ddcal_core.metrics.over_seeds import estimate
from ddcal_core.specs.decision_rules import (
    DecisionRule,
    OtherRows,
    RowChoice,
    SettingValue,
    settings_key,
)
from worker.trainer.comparing.differences import side_of
from worker.trainer.comparing.samples import Key, Sample, Settings, paired
from worker.trainer.comparing.words import points, range_words, side_words

Interval = tuple[float, float]


@dataclass(frozen=True, kw_only=True)
class _Rows:
    """Rows of one candidate, or of what it is compared with."""

    settings: Settings
    source: str
    method: str
    fit_on: str | None
    mask_ratio: float | str | None

    def sample(self, samples: Mapping[Key, Sequence[Sample]]) -> Sample | None:
        """Find them; of several alike those of the table, and of the first training set."""
        fitting = [one for one in samples.get(settings_key(self.settings), ()) if self._fits(one)]
        return min(
            fitting, key=lambda one: (one.role != self.source, one.one.row is None), default=None
        )

    def _fits(self, sample: Sample) -> bool:
        cell = sample.one
        if (cell.source, cell.method) != (self.source, self.method):
            return False
        if self.fit_on is not None and cell.fit_on != self.fit_on:
            return False
        if self.method != "mts":
            return True
        return cell.is_auto if self.mask_ratio == "auto" else cell.mask_ratio == self.mask_ratio

    def side(self) -> Side:
        """Name them where there are none."""
        mask = "" if self.mask_ratio is None else f" {self.mask_ratio}"
        return Side(
            settings=dict(self.settings),
            training_set=self.source,
            calibration=f"{self.method}{mask}",
        )


@dataclass(frozen=True, kw_only=True)
class _Pair:
    """A candidate beside one of what it is compared with.

    Attributes:
        group: settings that the rule leaves open.
        candidate: its place among the group's.
        differences: candidate minus other, a paired seed each.
    """

    group: Key
    candidate: int
    of: Side
    against: Side
    differences: tuple[float, ...]


def verdict(rule: DecisionRule, samples: Sequence[Sample]) -> Verdict:
    """Decide a rule; see `DecisionRule` for what confirms and what refutes.

    Args:
        rule: fixed beforehand.
        samples: of all results, the points of MTS curves among them.
    """
    pairs = list(_pairs(rule, samples))
    has_seeds = any(one.unit == "seed" for one in samples)
    outcomes = _outcomes(rule, pairs, is_open=not has_seeds)
    outcome = _together(rule, pairs, outcomes)
    comparisons = tuple(
        _comparison(rule, pair, own) for pair, own in zip(pairs, outcomes, strict=True)
    )
    return Verdict(
        rule=rule,
        outcome=outcome,
        words=_words(rule, outcome, comparisons, has_seeds=has_seeds),
        comparisons=comparisons,
    )


def _pairs(rule: DecisionRule, samples: Sequence[Sample]) -> Iterator[_Pair]:
    by_settings: dict[Key, list[Sample]] = {}
    groups: dict[Key, Settings] = {}
    for one in samples:
        by_settings.setdefault(one.key, []).append(one)
        open_ = {path: v for path, v in one.settings.items() if path not in rule.of.settings}
        groups.setdefault(settings_key(open_), open_)
    seen: set[tuple[object, ...]] = set()
    for group, settings in groups.items():
        for place, rows in enumerate(_candidates(rule.of, settings)):
            sample = rows.sample(by_settings)
            for other in (one for choice in rule.against for one in _others(choice, rows)):
                beside = other.sample(by_settings)
                if sample is None and beside is None:
                    continue
                if sample is not None and sample is beside:
                    continue
                key = (group, settings_key(rows.settings), repr(rows), repr(other))
                mirrored = (group, settings_key(other.settings), repr(other), repr(rows))
                if key in seen or (rule.expected == "equal" and mirrored in seen):
                    continue
                seen.add(key)
                values = _differences(rule, sample, beside)
                yield _Pair(
                    group=group,
                    candidate=place,
                    of=rows.side() if sample is None else side_of(sample),
                    against=other.side() if beside is None else side_of(beside),
                    differences=values,
                )


def _differences(
    rule: DecisionRule, sample: Sample | None, beside: Sample | None
) -> tuple[float, ...]:
    if sample is None or beside is None:
        return ()
    return tuple(paired(sample.values(rule.metric), beside.values(rule.metric)))


def _candidates(choice: RowChoice, settings: Settings) -> Iterator[_Rows]:
    for values in product(*choice.settings.values()):
        named = dict(zip(choice.settings, values, strict=True))
        for ratio in _ratios(choice.mask_ratios):
            yield _Rows(
                settings={**settings, **named},
                source=choice.training_set,
                method=choice.method,
                fit_on=choice.fit_on,
                mask_ratio=ratio,
            )


def _others(choice: OtherRows, rows: _Rows) -> Iterator[_Rows]:
    is_calibrated_otherwise = choice.method is not None
    ratios = _ratios(choice.mask_ratios) if is_calibrated_otherwise else [rows.mask_ratio]
    for values in product(*choice.settings.values()):
        named: dict[str, SettingValue] = dict(zip(choice.settings, values, strict=True))
        for ratio in ratios:
            yield _Rows(
                settings={**rows.settings, **named},
                source=choice.training_set or rows.source,
                method=choice.method or rows.method,
                fit_on=choice.fit_on if is_calibrated_otherwise else rows.fit_on,
                mask_ratio=ratio,
            )


def _ratios(asked: Sequence[float] | str | None) -> list[float | str | None]:
    if asked is None or isinstance(asked, str):
        return [asked]
    return list(asked)


def _outcomes(rule: DecisionRule, pairs: Sequence[_Pair], *, is_open: bool) -> list[Outcome]:
    """Decide each pair, at a level raised where one of several would be enough."""
    n_of = Counter((pair.group, pair.candidate) for pair in pairs)
    n_candidates = Counter(group for group, _ in n_of)
    found: list[Outcome] = []
    for pair in pairs:
        if rule.over == "some":
            confirming = n_candidates[pair.group]
            refuting = len(n_candidates) * n_of[pair.group, pair.candidate]
        else:
            confirming, refuting = 1, len(pairs)
        if is_open or len(pair.differences) < rule.min_seeds:
            found.append("open")
        elif _is_in(rule, _interval(rule, pair, confirming)):
            found.append("confirmed")
        elif _is_out(rule, _interval(rule, pair, refuting)):
            found.append("refuted")
        else:
            found.append("open")
    return found


def _interval(rule: DecisionRule, pair: _Pair, n_looks: int) -> Interval:
    interval = estimate(pair.differences, level=1 - (1 - rule.level) / n_looks).interval
    assert interval is not None
    return interval


def _is_in(rule: DecisionRule, interval: Interval) -> bool:
    """Whether all of an interval is where it is expected."""
    low, high = interval
    match rule.expected:
        case "lower":
            return high < -rule.margin
        case "higher":
            return low > rule.margin
        case "not_lower":
            return low > -rule.margin
        case "not_higher":
            return high < rule.margin
        case "equal":
            return -rule.margin < low and high < rule.margin
        case _:
            assert_never(rule.expected)


def _is_out(rule: DecisionRule, interval: Interval) -> bool:
    """Whether none of it is."""
    low, high = interval
    match rule.expected:
        case "lower":
            return low >= -rule.margin
        case "higher":
            return high <= rule.margin
        case "not_lower":
            return high <= -rule.margin
        case "not_higher":
            return low >= rule.margin
        case "equal":
            return low >= rule.margin or high <= -rule.margin
        case _:
            assert_never(rule.expected)


def _together(rule: DecisionRule, pairs: Sequence[_Pair], outcomes: Sequence[Outcome]) -> Outcome:
    """Confirmed where every group is, refuted where one is."""
    grouped: dict[Key, dict[int, list[Outcome]]] = {}
    for pair, outcome in zip(pairs, outcomes, strict=True):
        grouped.setdefault(pair.group, {}).setdefault(pair.candidate, []).append(outcome)
    of_groups = [
        _of_candidates(rule, [_all_of(own) for own in candidates.values()])
        for candidates in grouped.values()
    ]
    return _all_of(of_groups) if of_groups else "open"


def _all_of(outcomes: Sequence[Outcome]) -> Outcome:
    if "refuted" in outcomes:
        return "refuted"
    return "confirmed" if set(outcomes) == {"confirmed"} else "open"


def _of_candidates(rule: DecisionRule, outcomes: Sequence[Outcome]) -> Outcome:
    if rule.over == "every":
        return _all_of(outcomes)
    if "confirmed" in outcomes:
        return "confirmed"
    return "refuted" if set(outcomes) == {"refuted"} else "open"


def _comparison(rule: DecisionRule, pair: _Pair, outcome: Outcome) -> RuleComparison:
    found = estimate(pair.differences, level=rule.level) if pair.differences else None
    return RuleComparison(
        of=pair.of,
        against=pair.against,
        n=len(pair.differences),
        mean=None if found is None else found.mean,
        interval=None if found is None else found.interval,
        outcome=outcome,
    )


def _words(
    rule: DecisionRule,
    outcome: Outcome,
    comparisons: Sequence[RuleComparison],
    *,
    has_seeds: bool,
) -> str:
    if not comparisons:
        return "Open: no two results have the rows that it compares."
    if not has_seeds:
        return (
            "Open: all results are of one seed, and networks of one set tell nothing of other "
            f"sets; {rule.min_seeds} paired seeds are wanted."
        )
    fewest = min(one.n for one in comparisons)
    if outcome == "open" and fewest < rule.min_seeds:
        start = f"Open: {fewest} paired seeds, {rule.min_seeds} wanted. "
    elif outcome == "open":
        start = "Open: the intervals leave it undecided. "
    else:
        start = f"{outcome.capitalize()}. "
    shown = _clearest(rule, outcome, comparisons)
    return start + _comparison_words(rule, shown, len(comparisons))


def _clearest(
    rule: DecisionRule, outcome: Outcome, comparisons: Sequence[RuleComparison]
) -> RuleComparison:
    """Pick the comparison that speaks most for an outcome."""
    told = [one for one in comparisons if one.outcome == outcome and one.mean is not None]
    shown = told or [one for one in comparisons if one.mean is not None] or list(comparisons)
    return (max if outcome == "refuted" else min)(shown, key=lambda one: _distance(rule, one))


def _distance(rule: DecisionRule, one: RuleComparison) -> float:
    """How far a mean is from what is expected; the lower, the better."""
    mean = one.mean or 0.0
    if rule.expected == "equal":
        return abs(mean)
    return -mean if rule.expected in ("higher", "not_lower") else mean


def _comparison_words(rule: DecisionRule, one: RuleComparison, n: int) -> str:
    said = f"{side_words(one.of, one.against)} against {side_words(one.against, one.of)}: "
    if one.mean is None:
        return said + "no pairs."
    interval = (
        f" ({100 * rule.level:g} % interval {range_words(rule.metric, one.interval)})"
        if one.interval
        else ""
    )
    more = f"; the clearest of {n} comparisons" if n > 1 else ""
    seeds = "1 paired seed" if one.n == 1 else f"{one.n} paired seeds"
    return f"{said}{points(rule.metric, one.mean)}{interval}, {seeds}{more}."
