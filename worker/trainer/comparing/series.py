"""Numbers over a numeric setting, such as the mask ratio of MDT: means, the best, the fall."""

from collections.abc import Iterator, Sequence

from ddcal_core.formats.comparisons import (
    BestValue,
    HeatMap,
    Series,
    SeriesPoint,
)
from ddcal_core.metrics.over_seeds import best_choice, estimate
from ddcal_core.specs.decision_rules import RuleMetric, SettingValue, settings_key
from worker.trainer.comparing.cells import AS_TRAINED
from worker.trainer.comparing.differences import LEVEL
from worker.trainer.comparing.factors import DATASET, Factor
from worker.trainer.comparing.samples import Key, Sample, Settings, Values, paired

DISTILLATION_MASK = "distill.mask.ratio"


def series(samples: Sequence[Sample], factors: Sequence[Factor], base: Settings) -> list[Series]:
    """Follow ECE and accuracy over each numeric factor, with all other settings held.

    Accuracy is followed as trained alone: a temperature leaves it as it is.
    """
    found: list[Series] = []
    for factor in numeric(factors):
        for group in _groups(samples, factor):
            metrics: list[RuleMetric] = ["ece"]
            if group[0].calibration == AS_TRAINED:
                metrics.append("accuracy")
            of_group = (_series(metric, group, factor, base) for metric in metrics)
            found += [one for one in of_group if one is not None]
    return found


def numeric(factors: Sequence[Factor]) -> list[Factor]:
    """Give the factors of one number each, the mask ratio of the distillation first."""
    found = [one for one in factors if one.numbers is not None and DATASET not in one.paths]
    return sorted(found, key=lambda one: DISTILLATION_MASK not in one.paths)


def _groups(samples: Sequence[Sample], factor: Factor) -> Iterator[list[Sample]]:
    """Put together what differs by the factor alone, rising along it."""
    groups: dict[tuple[Key, str, str], list[Sample]] = {}
    for one in samples:
        key = (settings_key(held(one.settings, factor)), one.role, one.calibration)
        groups.setdefault(key, []).append(one)
    for group in groups.values():
        if len(group) > 1:
            yield sorted(group, key=lambda one: _number(one, factor))


def held(settings: Settings, *factors: Factor) -> dict[str, SettingValue]:
    """Give the settings less those of some factors."""
    varied = {path for factor in factors for path in factor.paths}
    return {path: value for path, value in settings.items() if path not in varied}


def _number(sample: Sample, factor: Factor) -> float:
    value = sample.settings[factor.paths[0]]
    assert isinstance(value, int | float)
    return float(value)


def _series(
    metric: RuleMetric, group: Sequence[Sample], factor: Factor, base: Settings
) -> Series | None:
    found = [(_number(one, factor), one.values(metric)) for one in group]
    points = [(x, values) for x, values in found if values]
    if len(points) < 2:
        return None
    # The best is found on the seeds that all have; else a seed more could decide.
    common = [unit for unit in points[0][1] if all(unit in values for _, values in points)]
    best = None
    if common:
        table = {x: [values[unit] for unit in common] for x, values in points}
        best = best_choice(table, is_lowest=metric != "accuracy")
    return Series(
        path=factor.paths[0],
        held=held(group[0].settings, factor),
        training_set=group[0].role,
        calibration=group[0].calibration,
        metric=metric,
        unit=group[0].unit,
        points=tuple(_point(x, list(values.values())) for x, values in points),
        best=None
        if best is None
        else BestValue(value=best.choice, interval=best.interval, share=best.share, n=best.n),
        falls_at=_falls_at(points, factor, base) if metric == "accuracy" else None,
    )


def _point(x: float, values: Sequence[float]) -> SeriesPoint:
    found = estimate(values, level=LEVEL)
    return SeriesPoint(
        x=x, n=found.n, mean=found.mean, interval=found.interval, values=tuple(values)
    )


def _falls_at(
    points: Sequence[tuple[float, Values]], factor: Factor, base: Settings
) -> float | None:
    """Give the smallest value above the base's whose paired interval lies below 0."""
    start = base[factor.paths[0]]
    if isinstance(start, bool) or not isinstance(start, int | float):
        return None
    of_base = dict(points).get(float(start), {})
    for x, values in points:
        differences = paired(values, of_base)
        interval = estimate(differences, level=LEVEL).interval if differences else None
        if x > start and interval is not None and interval[1] < 0:
            return x
    return None


def heat_maps(samples: Sequence[Sample], factors: Sequence[Factor]) -> list[HeatMap]:
    """Put MDT and MTS side by side: ECE by mask ratio of the distillation and of the curve."""
    mdt = next((one for one in numeric(factors) if DISTILLATION_MASK in one.paths), None)
    if mdt is None:
        return []
    points = [one for one in samples if one.one.row is None and one.one.fit_on == "training_set"]
    groups: dict[tuple[Key, str], list[Sample]] = {}
    for one in points:
        groups.setdefault((settings_key(held(one.settings, mdt)), one.role), []).append(one)
    return [_heat_map(group, mdt) for group in groups.values()]


def _heat_map(group: Sequence[Sample], mdt: Factor) -> HeatMap:
    found = {}
    for one in group:
        values = list(one.values("ece").values())
        if values:
            found[_number(one, mdt), one.one.mask_ratio or 0.0] = estimate(values, level=LEVEL)
    columns = sorted({x for x, _ in found})
    rows = sorted({y for _, y in found})
    return HeatMap(
        path=mdt.paths[0],
        held=held(group[0].settings, mdt),
        training_set=group[0].role,
        unit=group[0].unit,
        mdt_ratios=tuple(columns),
        mts_ratios=tuple(rows),
        ece=tuple(
            tuple(found[x, y].mean if (x, y) in found else None for x in columns) for y in rows
        ),
        n=tuple(tuple(found[x, y].n if (x, y) in found else 0 for x in columns) for y in rows),
    )
