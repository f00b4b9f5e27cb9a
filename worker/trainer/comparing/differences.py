"""Paired differences: against the base, a factor at a time, and against no calibration."""

from collections.abc import Iterator, Mapping, Sequence

from ddcal_core.formats.comparisons import Difference, Side
from ddcal_core.metrics.over_seeds import estimate
from ddcal_core.specs.decision_rules import RuleMetric, SettingValue, settings_key
from worker.trainer.comparing.cells import AS_TRAINED
from worker.trainer.comparing.factors import DATASET, Factor
from worker.trainer.comparing.samples import Key, Sample, Settings, paired

LEVEL = 0.95
Index = Mapping[tuple[Key, str, str], Sample]


def base_of(factors: Sequence[Factor], asked: Settings | None) -> dict[str, SettingValue]:
    """Give the settings that others are compared with: those asked for, else each one's first."""
    base: dict[str, SettingValue] = {}
    for factor in factors:
        named = {path: one for path, one in (asked or {}).items() if path in factor.paths}
        fitting = [
            values
            for values in factor.values
            if settings_key(named).issubset(
                settings_key(dict(zip(factor.paths, values, strict=True)))
            )
        ]
        base |= dict(zip(factor.paths, (fitting or factor.values)[0], strict=True))
    return base


def indexed(samples: Sequence[Sample]) -> Index:
    """Put samples under their settings, training set and calibration."""
    return {(one.key, one.role, one.calibration): one for one in samples}


def differences(
    samples: Sequence[Sample], factors: Sequence[Factor], base: Settings
) -> list[Difference]:
    """Compare each sample with the one that has one factor as the base has it.

    All else is equal. What differs from all others by more than one factor is compared with the
    base itself. Data sets are not compared: different test images make no pairs.
    """
    index = indexed(samples)
    found = []
    for sample in samples:
        for other in _partners(sample, index, factors, base):
            metrics: list[RuleMetric] = ["ece"]
            if sample.calibration == AS_TRAINED:
                metrics.append("accuracy")
            found += [difference(metric, sample, other) for metric in metrics]
    return [one for one in found if one is not None]


def calibration_differences(samples: Sequence[Sample]) -> list[Difference]:
    """Compare the ECE of each calibration with that of the same networks as trained."""
    index = indexed(samples)
    pairs = (
        (one, index.get((one.key, one.role, AS_TRAINED)))
        for one in samples
        if one.calibration != AS_TRAINED
    )
    found = [difference("ece", one, other) for one, other in pairs if other is not None]
    return [one for one in found if one is not None]


def _partners(
    sample: Sample, index: Index, factors: Sequence[Factor], base: Settings
) -> Iterator[Sample]:
    changed = [
        factor
        for factor in factors
        if DATASET not in factor.paths and factor.of(sample.settings) != factor.of(base)
    ]
    found = False
    for factor in changed:
        settings = {**sample.settings, **{path: base[path] for path in factor.paths}}
        other = index.get((settings_key(settings), sample.role, sample.calibration))
        if other is not None:
            found = True
            yield other
    if changed and not found:
        settings = {**sample.settings, **{p: base[p] for one in changed for p in one.paths}}
        other = index.get((settings_key(settings), sample.role, sample.calibration))
        if other is not None:
            yield other


def difference(metric: RuleMetric, one: Sample, other: Sample) -> Difference | None:
    """Compare two samples, pair by pair; None where they have no pair."""
    values = paired(one.values(metric), other.values(metric))
    if not values:
        return None
    found = estimate(values, level=LEVEL)
    return Difference(
        metric=metric,
        of=side_of(one),
        against=side_of(other),
        unit=one.unit,
        n=found.n,
        mean=found.mean,
        interval=found.interval,
        p=found.p,
        values=tuple(values),
    )


def side_of(sample: Sample) -> Side:
    """Name a sample."""
    return Side(
        settings=dict(sample.settings), training_set=sample.role, calibration=sample.calibration
    )
