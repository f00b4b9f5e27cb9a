"""What varies: settings that change together are one factor."""

from collections.abc import Sequence
from dataclasses import dataclass

from ddcal_core.specs.decision_rules import SettingValue, setting_key
from worker.trainer.comparing.samples import Settings

DATASET = "dataset"


@dataclass(frozen=True)
class Factor:
    """Settings that vary together.

    Attributes:
        paths: of the settings; the first names the factor.
        values: of all paths, in the order in which they come first.
    """

    paths: tuple[str, ...]
    values: tuple[tuple[SettingValue, ...], ...]

    @property
    def numbers(self) -> tuple[float, ...] | None:
        """The values of a factor of one number each, rising; None of any other."""
        first = [values[0] for values in self.values]
        if any(isinstance(one, bool) or not isinstance(one, int | float) for one in first):
            return None
        return tuple(sorted(float(one) for one in first if isinstance(one, int | float)))

    def of(self, settings: Settings) -> tuple[object, ...]:
        """What tells its values apart."""
        return tuple(setting_key(settings.get(path)) for path in self.paths)


def factors_of(settings: Sequence[Settings]) -> list[Factor]:
    """Find what varies among settings without their seeds.

    Two settings change together where the value of each tells the other's, as the options of two
    methods do.
    """
    paths = list(dict.fromkeys(path for one in settings for path in one))
    columns = {path: [setting_key(one.get(path)) for one in settings] for path in paths}
    together: dict[tuple[int, ...], list[str]] = {}
    for path, column in columns.items():
        if len(set(column)) > 1:
            together.setdefault(_places(column), []).append(path)
    return [_factor(tuple(own), settings) for own in together.values()]


def _places(column: Sequence[object]) -> tuple[int, ...]:
    """Number the values by where they come first: equal for settings that change together."""
    numbers: dict[object, int] = {}
    return tuple(numbers.setdefault(value, len(numbers)) for value in column)


def _factor(paths: tuple[str, ...], settings: Sequence[Settings]) -> Factor:
    found = {
        tuple(setting_key(one.get(path)) for path in paths): tuple(one.get(path) for path in paths)
        for one in settings
    }
    return Factor(paths, tuple(found.values()))
