"""Which numbers are compared with which: cells of equal settings, one value a seed."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean
from typing import Literal

from ddcal_core.specs.decision_rules import SettingValue, setting_key, settings_key
from worker.trainer.comparing.cells import Cell, Result

SEED = "seed"
Unit = Literal["seed", "network"]
Settings = Mapping[str, SettingValue]
Key = frozenset[tuple[str, object]]
Values = Mapping[object, float]
"""A seed, or a network's place -> its number."""


@dataclass(frozen=True, kw_only=True)
class Sample:
    """Cells that differ by seed alone: one training set and calibration under equal settings.

    Attributes:
        settings: all but the seed.
        role: what was trained on.
        calibration: for people.
        cells: a seed -> cells; of one seed there may be several, which are averaged.
        unit: what one value is of.
    """

    settings: Settings
    role: str
    calibration: str
    cells: Mapping[object, Sequence[Cell]] = field(repr=False)
    unit: Unit

    @property
    def one(self) -> Cell:
        """One of the cells, which all have the same calibration."""
        return next(iter(self.cells.values()))[0]

    @property
    def key(self) -> Key:
        """What is equal for equal settings alone."""
        return settings_key(self.settings)

    def values(self, metric: str) -> Values:
        """Give a number of each unit, the mean of its networks'; those that have none are left out.

        A seed of which some network has no number, such as an infinite NLL, has none either.
        """
        if self.unit == "seed":
            found = {seed: _numbers(cells, metric) for seed, cells in self.cells.items()}
            return {seed: fmean(own) for seed, own in found.items() if own}
        networks = [one for cells in self.cells.values() for cell in cells for one in cell.networks]
        numbers = ((k, one.get(metric)) for k, one in enumerate(networks))
        return {k: number for k, number in numbers if number is not None}


def _numbers(cells: Iterable[Cell], metric: str) -> list[float]:
    found = [network.get(metric) for cell in cells for network in cell.networks]
    return [] if None in found else [number for number in found if number is not None]


def samples_of(results: Sequence[Result], cells: Sequence[Cell]) -> list[Sample]:
    """Put together what differs by seed alone, in the order in which it comes first.

    One value is of a seed of the pipeline, which makes a set of its own. Where only one seed is
    compared, it is of a network: they share their set, and tell nothing of other sets.
    """
    settings = {result.place: result.settings for result in results}
    unit = unit_of(results)
    grouped: dict[tuple[Key, str, str], dict[object, list[Cell]]] = {}
    first: dict[Key, Settings] = {}
    for cell in cells:
        own = without_seed(settings[cell.place])
        key = settings_key(own)
        first.setdefault(key, own)
        of_seed = grouped.setdefault((key, cell.role, cell.calibration), {})
        seed = setting_key(settings[cell.place].get(SEED))
        of_seed.setdefault(seed, []).append(cell)
    return [
        Sample(settings=first[key], role=role, calibration=calibration, cells=of_seed, unit=unit)
        for (key, role, calibration), of_seed in grouped.items()
    ]


def unit_of(results: Sequence[Result]) -> Unit:
    """Say what one value is of: seeds where there are several."""
    seeds = {setting_key(result.settings.get(SEED)) for result in results}
    return "seed" if len(seeds) > 1 else "network"


def without_seed(settings: Settings) -> dict[str, SettingValue]:
    """Give the settings less the seed, over which they are compared."""
    return {path: value for path, value in settings.items() if path != SEED}


def paired(one: Values, other: Values) -> list[float]:
    """Give one minus the other for each unit that both have."""
    return [one[unit] - other[unit] for unit in one if unit in other]
