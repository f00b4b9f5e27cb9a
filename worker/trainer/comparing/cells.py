"""Reports as a comparison sees them: cells of one training set, one calibration, one result."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from ddcal_core.formats.calibrations import CalibrationMethod, FitOn
from ddcal_core.formats.comparisons import ComparedRow
from ddcal_core.formats.exports.report_table import Cell as TableCell
from ddcal_core.formats.exports.report_table import report_rows
from ddcal_core.formats.report_analyses import LogitAnalysis, SpectrumAnalysis
from ddcal_core.formats.report_rows import FURTHER, METRICS, NetworkRow, Row
from ddcal_core.formats.reports import Report
from ddcal_core.specs.decision_rules import SettingValue
from ddcal_core.specs.masks import MaskShape
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
class Cell:
    """The networks of one training set of one result under one calibration.

    Attributes:
        place: of the result.
        role: what was trained on, in a word that is the same in all results.
        source: what was trained on, by `source` of the train job.
        calibration: for people, the same in all results.
        is_auto: whether a mask's ratio was left open.
        networks: of each network by its place: its numbers by name; None for what has no number.
        row: its means; None of a point of the report's MTS curve, which has ECE and gap alone.
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
    row: ComparedRow | None


@dataclass(frozen=True, kw_only=True)
class Result:
    """What is kept of a report that was made, and what sets it apart: 2,000 fit into memory.

    Attributes:
        place: among all that were asked for, from 0.
        settings: path in the params of a pipeline -> value, null where it has none; the same paths
            for all results.
        cells: in the order of the report's table.
        points: of the MTS curves, of each training set those of its first mask.
        table: rows of the report's own table, as it is exported.
        logits: of the first training set, where the report has them and they are kept.
        spectrum: of its distilled set, likewise.
    """

    place: int
    report_id: str
    job_id: str
    settings: Mapping[str, SettingValue]
    dataset: str
    n_test: int
    cells: tuple[Cell, ...]
    points: tuple[Cell, ...]
    table: tuple[Mapping[str, TableCell], ...]
    logits: LogitAnalysis | None
    spectrum: SpectrumAnalysis | None


def read_result(
    file: ReportInput,
    report: Report,
    *,
    place: int,
    settings: Mapping[str, SettingValue],
    has_analyses: bool,
) -> Result:
    """Keep of a report what is compared.

    Args:
        file: where it was read, with a report id.
        report: it.
        place: among all that were asked for.
        settings: what sets it apart.
        has_analyses: whether the analyses of its logits and of its set are kept.
    """
    label = report.training_sets[0].label
    logits = (one for one in report.logit_analysis if one.training_set_label == label)
    spectra = (one for one in report.spectrum_analysis if one.training_set_label == label)
    return Result(
        place=place,
        report_id=file.report_id or "",
        job_id=file.job_id,
        settings=settings,
        dataset=report.dataset,
        n_test=report.n_test,
        cells=tuple(_cells(report, place)),
        points=tuple(_points(report, place)),
        table=tuple(report_rows(report)),
        logits=next(logits, None) if has_analyses else None,
        spectrum=next(spectra, None) if has_analyses else None,
    )


def roles_of(report: Report) -> list[str]:
    """Name each training set of a report by its source, the second of a source "... #2"."""
    seen: Counter[str] = Counter()
    roles = []
    for one in report.training_sets:
        seen[one.training_set] += 1
        n = seen[one.training_set]
        roles.append(one.training_set if n == 1 else f"{one.training_set} #{n}")
    return roles


def _cells(report: Report, place: int) -> Iterator[Cell]:
    roles = roles_of(report)
    seen: set[tuple[str, str]] = set()
    for row in report.rows:
        role = roles[row.training_set_index]
        name = calibration_name(row)
        if (role, name) in seen:
            name = row.calibration.replace("\u202f", " ")
        seen.add((role, name))
        yield Cell(
            place=place,
            role=role,
            source=row.training_set,
            calibration=name,
            method=row.method,
            fit_on=row.fit_on,
            mask_ratio=row.mask_ratio,
            is_auto=_is_auto(row),
            networks=tuple(
                {**_numbers(network), **own}
                for network, own in zip(row.networks, analysed(report, row), strict=True)
            ),
            row=_means(row, place, role, name),
        )


def analysed(report: Report, row: Row) -> list[dict[str, float | None]]:
    """What probes and attributions say of each network of a row, by the names of rules."""
    found: list[dict[str, float | None]] = [{} for _ in row.networks]
    label = row.training_set_label
    for one in report.probes:
        for scores in one.probes if one.training_set_label == label else ():
            for own, accuracy in zip(found, scores.networks, strict=False):
                own[f"probe_{scores.probe}"] = accuracy
    for analysis in report.attributions:
        for own, seen in zip(found, analysis.networks, strict=False):
            if analysis.training_set_label == label:
                own["attribution_concentration"] = seen.concentration
                own["attribution_deletion"] = seen.deletion
                own["attribution_insertion"] = seen.insertion
    return found


def _means(row: Row, place: int, role: str, calibration: str) -> ComparedRow:
    return ComparedRow(
        result=place,
        training_set=role,
        training_set_label=row.training_set_label,
        calibration=calibration,
        method=row.method,
        fit_on=row.fit_on,
        mask_ratio=row.mask_ratio,
        n_networks=row.n_networks,
        accuracy=row.accuracy,
        ece=row.ece,
        signed_gap=row.signed_gap,
        nll=row.nll,
        brier=row.brier,
        temperature=row.temperature,
    )


def _points(report: Report, place: int) -> Iterator[Cell]:
    labels = [one.label for one in report.training_sets]
    roles = dict(zip(labels, roles_of(report), strict=True))
    sources = {one.label: one.training_set for one in report.training_sets}
    masks: dict[str, MaskShape] = {}
    for curve in report.mts_curves:
        label = curve.training_set_label
        if masks.setdefault(label, curve.mask) != curve.mask:
            continue
        for point in curve.points:
            yield Cell(
                place=place,
                role=roles[label],
                source=sources[label],
                calibration=mts_name(point.ratio, curve.fit_on),
                method="mts",
                fit_on=curve.fit_on,
                mask_ratio=point.ratio,
                is_auto=False,
                networks=tuple(
                    {"ece": one.ece, "signed_gap": one.signed_gap} for one in point.networks
                ),
                row=None,
            )


def mts_name(ratio: float, fit_on: str) -> str:
    """Name a point of an MTS curve, unlike any calibration of a table."""
    return f"MTS curve, {100 * ratio:g} % on {fit_on.replace('_', ' ')}"


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
