"""What was made from a result: its lineage downwards, a generation at a time."""

from collections.abc import Mapping, Sequence

from sqlalchemy import ColumnElement, Connection, Select, select

from app.shared.store.catalog import TABLES, Result, result_of
from app.shared.store.kinds import COMPARE
from app.shared.store.tables import (
    calibrations,
    comparisons,
    distilled_sets,
    job_deps,
    jobs,
    models,
    report_calibrations,
    reports,
)
from ddcal_core.specs.results import Resource

MOST_SHOWN = 100
"""Of each kind; the newest."""


def made_from(
    connection: Connection, owner_id: str, result: Result
) -> Mapping[Resource, list[Result]]:
    """Results that were made from one, by kind, newest first; kinds of which there is none are not.

    Of a set the networks trained on it, and the reports on these; of a network its calibrations
    and reports; of a report the comparisons that it is part of.
    """
    found = {
        kind: _newest(connection, owner_id, kind, which) for kind, which in _below(result).items()
    }
    return {kind: results for kind, results in found.items() if results}


def results_of_ids(
    connection: Connection, owner_id: str, resource: Resource, ids: Sequence[str]
) -> list[Result]:
    """Results of one kind by their ids, oldest first; what has been deleted is left out."""
    table = TABLES[resource]
    statement = select(table).where(table.c.owner_id == owner_id, table.c.id.in_(ids))
    rows = connection.execute(statement.order_by(table.c.id))
    return [result_of(resource, row) for row in rows]


def _below(result: Result) -> Mapping[Resource, ColumnElement[bool]]:
    """Which results of which kinds were made from one."""
    match result.resource:
        case "expert_set":
            return {"distilled_set": distilled_sets.c.expert_set_id == result.id}
        case "distilled_set":
            return {
                "model": models.c.distilled_set_id == result.id,
                "report": reports.c.id.in_(_reports_on(models.c.distilled_set_id == result.id)),
            }
        case "model":
            return {
                "calibration": calibrations.c.model_id == result.id,
                "report": reports.c.id.in_(_reports_on(models.c.id == result.id)),
            }
        case "calibration":
            return {"report": reports.c.id.in_(_reports_on(calibrations.c.id == result.id))}
        case "report":
            compared = (
                select(job_deps.c.job_id)
                .join(jobs, jobs.c.id == job_deps.c.job_id)
                .where(job_deps.c.needs_job_id == result.job_id, jobs.c.kind == COMPARE)
            )
            return {"comparison": comparisons.c.job_id.in_(compared)}
        case "comparison":
            return {}


def _reports_on(which: ColumnElement[bool]) -> Select[tuple[str]]:
    """Ids of the reports on some calibrations."""
    return (
        select(report_calibrations.c.report_id)
        .join(calibrations, calibrations.c.id == report_calibrations.c.calibration_id)
        .outerjoin(models, models.c.id == calibrations.c.model_id)
        .where(which)
    )


def _newest(
    connection: Connection, owner_id: str, kind: Resource, which: ColumnElement[bool]
) -> list[Result]:
    table = TABLES[kind]
    statement = select(table).where(table.c.owner_id == owner_id, which)
    rows = connection.execute(statement.order_by(table.c.id.desc()).limit(MOST_SHOWN))
    return [result_of(kind, row) for row in rows]
