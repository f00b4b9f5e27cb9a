"""Reading and recording what jobs make: sets, models, calibrations, reports and their files.

Every query here is filtered by owner. What belongs to a job is deleted with it.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Literal

from sqlalchemy import (
    ColumnElement,
    Connection,
    Row,
    Select,
    Table,
    insert,
    literal,
    select,
    tuple_,
)

from app.shared.errors import NotFoundError
from app.shared.store import tables
from app.shared.store.database import db_now
from app.shared.store.descriptions import (
    EVERYTHING,
    Search,
    change_description,
    description_of,
    found_by,
    index_description,
)
from app.shared.store.job_records import Job, new_id
from app.shared.store.kinds import RESOURCES
from app.shared.store.measured import measured, record_measured
from app.shared.store.tables import artifacts
from ddcal_core.specs.results import Resource

TABLES: Mapping[Resource, Table] = {
    "expert_set": tables.expert_sets,
    "distilled_set": tables.distilled_sets,
    "model": tables.models,
    "calibration": tables.calibrations,
    "report": tables.reports,
    "comparison": tables.comparisons,
}


@dataclass(frozen=True, kw_only=True)
class Result:
    """A set of experts, a distilled set, a model, a calibration, a report or a comparison.

    Attributes:
        resource: which of them.
        columns: what its table keeps in columns of their own.
        details: what its job reported of it.
    """

    id: str
    resource: Resource
    job_id: str
    columns: dict[str, Any]
    details: dict[str, Any]
    created_at: datetime


@dataclass(frozen=True, kw_only=True)
class Artifact:
    """A file that belongs to a result."""

    id: str
    job_id: str
    resource_id: str
    name: str
    media_type: str
    sha256: str
    n_bytes: int
    created_at: datetime


def find_result(
    connection: Connection, owner_id: str, resource: Resource, result_id: str
) -> Result:
    """One result.

    Raises:
        NotFoundError: there is none of that kind and id, or it is another owner's.
    """
    row = _row_of(connection, owner_id, resource, result_id)
    if row is None:
        raise _no_result(resource, result_id)
    return result_of(resource, row)


@dataclass(frozen=True, kw_only=True)
class Order:
    """How results are listed.

    Attributes:
        column: accuracy or ece, those that have none left out; None for newest first.
        is_rising: from the lowest on.
    """

    column: Literal["accuracy", "ece"] | None = None
    is_rising: bool = False


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """Which results are listed.

    Attributes:
        filters: wanted values by column.
        search: what else they have to have.
        bounds: the least accuracy and the greatest ECE; what has none is left out by them.
    """

    filters: Mapping[str, str | int] = field(default_factory=dict)
    search: Search = EVERYTHING
    bounds: tuple[float | None, float | None] = (None, None)


NEWEST_FIRST = Order()
Position = tuple[str, float | None]
"""Where a page ended: the id, and the value sorted by."""


def list_results(
    connection: Connection,
    owner_id: str,
    resource: Resource,
    *,
    wanted: Wanted,
    order: Order = NEWEST_FIRST,
    after: Position | None = None,
    limit: int = 50,
) -> list[Result]:
    """Results of one kind in an order; the other arguments are those of job_queries.list_jobs."""
    table, prefix = TABLES[resource], RESOURCES[resource].prefix
    statement = _of_owner(owner_id, resource)
    for name, value in wanted.filters.items():
        statement = statement.where(table.c[name] == value)
    least_accuracy, most_ece = wanted.bounds
    if least_accuracy is not None:
        statement = statement.where(table.c.accuracy >= least_accuracy)
    if most_ece is not None:
        statement = statement.where(table.c.ece <= most_ece)
    statement = statement.where(*found_by(connection, owner_id, table, prefix, wanted.search))
    keys = [table.c.id] if order.column is None else [table.c[order.column], table.c.id]
    if order.column is not None:
        statement = statement.where(table.c[order.column].is_not(None))
    if after is not None:
        last = [after[0]] if order.column is None else [after[1], after[0]]
        here, there = tuple_(*keys), tuple_(*map(literal, last))
        statement = statement.where(here > there if order.is_rising else here < there)
    sorting = [key.asc() if order.is_rising else key.desc() for key in keys]
    rows = connection.execute(statement.order_by(*sorting).limit(limit))
    return [result_of(resource, row) for row in rows]


def describe_result(
    connection: Connection,
    owner_id: str,
    resource: Resource,
    result_id: str,
    given: Mapping[str, Any],
) -> None:
    """Change a result's name, tags or notes.

    Raises:
        NotFoundError: there is none of that kind and id, or it is another owner's.
        InvalidRequestError: see `change_description`.
    """
    if not change_description(connection, owner_id, TABLES[resource], result_id, given):
        raise _no_result(resource, result_id)


def results_of_jobs(
    connection: Connection, owner_id: str, resource: Resource, job_ids: Sequence[str]
) -> list[Result]:
    """What some jobs have made of one kind, oldest first."""
    table = TABLES[resource]
    statement = _of_owner(owner_id, resource).where(table.c.job_id.in_(job_ids))
    return [result_of(resource, row) for row in connection.execute(statement.order_by(table.c.id))]


def record_result(
    connection: Connection,
    job: Job,
    resource: Resource,
    values: Mapping[str, Any],
    *,
    name: str | None = None,
) -> str:
    """Write one result of a job, its columns taken from what the trainer says of it.

    It is called as its job is, unless it has a `name`, and takes on the job's tags and notes.

    Returns:
        Its new id.
    """
    table = TABLES[resource]
    prefix = RESOURCES[resource].prefix
    description = replace(description_of(job), name=name or job.name)
    known = {
        "id",
        "owner_id",
        "job_id",
        "details",
        "created_at",
        "accuracy",
        "ece",
        *vars(description),
    }
    columns = {c.name: values.get(c.name) for c in table.c if c.name not in known}
    result_id = new_id(prefix)
    connection.execute(
        insert(table).values(
            id=result_id,
            owner_id=job.owner_id,
            job_id=job.id,
            details=dict(values),
            created_at=db_now(),
            **columns,
            **vars(description),
            **measured(resource, values),
        )
    )
    index_description(connection, job.owner_id, result_id, job.id, description)
    if resource == "report":
        _link_report(connection, job.owner_id, result_id, values["calibration_ids"])
        record_measured(connection, values)
    return result_id


def record_artifact(
    connection: Connection,
    job: Job,
    resource_id: str,
    *,
    name: str,
    media_type: str,
    sha256: str,
    n_bytes: int,
) -> None:
    """Write the row of a file that the store already holds."""
    connection.execute(
        insert(artifacts).values(
            id=new_id("art"),
            owner_id=job.owner_id,
            job_id=job.id,
            resource_id=resource_id,
            name=name,
            media_type=media_type,
            sha256=sha256,
            n_bytes=n_bytes,
            created_at=db_now(),
        )
    )


def find_artifact(connection: Connection, owner_id: str, artifact_id: str) -> Artifact:
    """One file's row.

    Raises:
        NotFoundError: there is none of that id, or it is another owner's.
    """
    statement = select(artifacts).where(
        artifacts.c.owner_id == owner_id, artifacts.c.id == artifact_id
    )
    row = connection.execute(statement).one_or_none()
    if row is None:
        raise NotFoundError("artifact_not_found", f"there is no artifact {artifact_id}")
    return artifact_of(row)


def artifacts_of_resources(
    connection: Connection, owner_id: str, resource_ids: Iterable[str]
) -> list[Artifact]:
    """The files of some results, by result and name."""
    return _artifacts(connection, owner_id, artifacts.c.resource_id.in_(list(resource_ids)))


def artifacts_of_job(connection: Connection, owner_id: str, job_id: str) -> list[Artifact]:
    """The files of everything one job has made, by result and name."""
    return _artifacts(connection, owner_id, artifacts.c.job_id == job_id)


def lineage(
    connection: Connection, owner_id: str, resource: Resource, result_id: str
) -> dict[str, list[str]]:
    """What a result was made from: names of uploads and ids of results, by kind."""
    result = find_result(connection, owner_id, resource, result_id)
    if resource == "report":
        return _lineage_of_report(connection, owner_id, result_id, result)
    if resource == "calibration":
        model_id = result.columns["model_id"]
        if model_id is None:
            return {"logits": [result.details["logits"]]}
        above = lineage(connection, owner_id, "model", model_id)
        return {**above, "models": [model_id]}
    if resource == "comparison":
        return {"reports": list(result.details["report_ids"])}
    found = {"datasets": [result.columns["dataset"]]}
    if result.columns.get("expert_set_id"):
        found["expert_sets"] = [result.columns["expert_set_id"]]
    if result.columns.get("distilled_set_id"):
        found["distilled_sets"] = [result.columns["distilled_set_id"]]
    start = result.details.get("initial_set_id")
    if start is not None and _row_of(connection, owner_id, "distilled_set", start) is not None:
        found["distilled_sets"] = [start]
    return found


def _row_of(
    connection: Connection, owner_id: str, resource: Resource, result_id: str
) -> Row[Any] | None:
    statement = _of_owner(owner_id, resource).where(TABLES[resource].c.id == result_id)
    return connection.execute(statement).one_or_none()


def _lineage_of_report(
    connection: Connection, owner_id: str, report_id: str, report: Result
) -> dict[str, list[str]]:
    if "logits" in report.details:
        # One job has fitted and measured: what it calibrated is what it reports on.
        made = results_of_jobs(connection, owner_id, "calibration", [report.job_id])
        return {
            "logits": [report.details["logits"]],
            "calibrations": [calibration.id for calibration in made],
        }
    links, cals, models = tables.report_calibrations, tables.calibrations, tables.models
    rows = connection.execute(
        select(cals.c.id, cals.c.model_id, models.c.distilled_set_id)
        .join(links, links.c.calibration_id == cals.c.id)
        .join(models, models.c.id == cals.c.model_id)
        .where(links.c.report_id == report_id, cals.c.owner_id == owner_id)
        .order_by(cals.c.id)
    ).all()
    sets = {row.distilled_set_id for row in rows if row.distilled_set_id}
    return {
        "datasets": [report.columns["dataset"]],
        "distilled_sets": sorted(sets),
        "models": sorted({row.model_id for row in rows}),
        "calibrations": [row.id for row in rows],
    }


def _link_report(
    connection: Connection, owner_id: str, report_id: str, calibration_ids: Sequence[str]
) -> None:
    for calibration_id in calibration_ids:
        connection.execute(
            insert(tables.report_calibrations).values(
                owner_id=owner_id, report_id=report_id, calibration_id=calibration_id
            )
        )


def _no_result(resource: Resource, result_id: str) -> NotFoundError:
    words = resource.replace("_", " ")
    return NotFoundError(f"{resource}_not_found", f"there is no {words} {result_id}")


def _of_owner(owner_id: str, resource: Resource) -> Select[Any]:
    table = TABLES[resource]
    return select(table).where(table.c.owner_id == owner_id)


def result_of(resource: Resource, row: Row[Any]) -> Result:
    """A row of the table of a kind of results."""
    values = dict(row._mapping)
    fixed = {name: values.pop(name) for name in ("id", "job_id", "details", "created_at")}
    del values["owner_id"]
    return Result(resource=resource, columns=values, **fixed)


def _artifacts(connection: Connection, owner_id: str, which: ColumnElement[bool]) -> list[Artifact]:
    statement = select(artifacts).where(artifacts.c.owner_id == owner_id, which)
    statement = statement.order_by(artifacts.c.resource_id, artifacts.c.name)
    return [artifact_of(row) for row in connection.execute(statement)]


def artifact_of(row: Row[Any]) -> Artifact:
    """A row of the table of files."""
    return Artifact(**{name: getattr(row, name) for name in Artifact.__dataclass_fields__})
