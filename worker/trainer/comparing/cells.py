"""Reports as a comparison sees them: cells of one training set, one calibration, one result."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ddcal_core.formats.calibrations import CalibrationMethod, FitOn
from ddcal_core.formats.report_rows import FURTHER, METRICS, NetworkRow, Row
from ddcal_core.formats.reports import Report
from ddcal_core.specs.decision_rules import SettingValue
from worker.trainer.inputs import Input

AS_TRAINED = "as trained"
RATIO_FOUND = "MTS, ratio found, on"


class ReportInput(Input):
    """A report, or how the job has ended that was to make one."""

    job_id: str
    report_id: str | None = None
    path: Path | None = None
    state: str | None = None
    message: str | None = None


@dataclass(frozen=True, kw_only=True)
class Result:
    """A report that was made, and what sets it apart.

    Attributes:
        place: among all that were asked for, from 0.
        settings: path in the params of a pipeline -> value.
    """

    place: int
    report_id: str
    job_id: str
    settings: Mapping[str, SettingValue]
    report: Report


@dataclass(frozen=True, kw_only=True)
class Cell:
    """The networks of one training set of one result under one calibration.

    Attributes:
        place: of the result.
        role: what was trained on, in a word that is the same in all results.
        source: what was trained on, by `source` of the train job.
        calibration: for people, the same in all results.
        is_auto: whether a mask's ratio was left open.
        networks: of each network by its place: its numbers by name; None for what has no number.
    """

    place: int
    role: str
    source: str
    calibration: str
    method: CalibrationMethod
    fit_on: FitOn | None
    mask_ratio: float | None
    is_auto: bool
    networks: tuple[Mapping[str, float | None], ...]
    row: Row


def roles_of(report: Report) -> list[str]:
    """Name each training set of a report by its source, the second of a source "... #2"."""
    seen: Counter[str] = Counter()
    roles = []
    for one in report.training_sets:
        seen[one.training_set] += 1
        n = seen[one.training_set]
        roles.append(one.training_set if n == 1 else f"{one.training_set} #{n}")
    return roles


def cells_of(results: Sequence[Result]) -> list[Cell]:
    """Give the cells of all results, in the order of their reports' tables."""
    return [cell for result in results for cell in _cells(result)]


def _cells(result: Result) -> Iterator[Cell]:
    roles = roles_of(result.report)
    seen: set[tuple[str, str]] = set()
    for row in result.report.rows:
        role = roles[row.training_set_index]
        name = calibration_name(row)
        if (role, name) in seen:
            name = row.calibration.replace("\u202f", " ")
        seen.add((role, name))
        yield Cell(
            place=result.place,
            role=role,
            source=row.training_set,
            calibration=name,
            method=row.method,
            fit_on=row.fit_on,
            mask_ratio=row.mask_ratio,
            is_auto=_is_auto(row),
            networks=tuple(map(_numbers, row.networks)),
            row=row,
        )


def calibration_name(row: Row) -> str:
    """Name a calibration as all results call it: by what was asked for, not by what was found."""
    if row.method == "none":
        return AS_TRAINED
    if _is_auto(row):
        return f"{RATIO_FOUND} {str(row.fit_on).replace('_', ' ')}"
    # Without the narrow spaces that our words have on the page.
    return row.calibration.replace("\u202f", " ")


def _is_auto(row: Row) -> bool:
    spec = row.networks[0].spec
    mask = None if spec is None else (spec.model_extra or {}).get("mask")
    return isinstance(mask, Mapping) and mask.get("ratio") == "auto"


def _numbers(network: NetworkRow) -> dict[str, float | None]:
    further = network.further
    return {
        **{name: getattr(network, name) for name in METRICS},
        **{name: getattr(further, name) if further else None for name in FURTHER},
    }
