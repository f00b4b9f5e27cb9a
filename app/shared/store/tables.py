"""Every table. Times are UTC, kept as whole milliseconds; ids sort by time of creation."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, get_args

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Double,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    UniqueConstraint,
    false,
    text,
    true,
)
from sqlalchemy.engine import Dialect
from sqlalchemy.types import TypeDecorator

from app.shared.store.job_states import JOB_STATES, RESERVED_STATES, TERMINAL_STATES
from app.shared.store.kinds import COMPOSITE_KINDS
from ddcal_core.specs.uploads import DatasetContent

DATASET_STATES = ("checking", "ready", "rejected")
DATASET_CONTENTS: tuple[DatasetContent, ...] = get_args(DatasetContent)


class UtcTime(TypeDecorator[datetime]):
    """An aware UTC time, stored as milliseconds since 1970 so that both databases compare alike."""

    impl = BigInteger
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> int | None:  # noqa: ARG002
        """Aware datetime -> milliseconds."""
        return None if value is None else round(value.timestamp() * 1000)

    def process_result_value(self, value: int | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        """Milliseconds -> aware datetime."""
        return None if value is None else datetime.fromtimestamp(value / 1000, UTC)


def _one_of(column: str, values: Sequence[str]) -> str:
    return f"{column} IN ({', '.join(repr(value) for value in values)})"


def _id() -> Column[str]:
    return Column("id", String(40), primary_key=True)


def _owner() -> Column[str]:
    return Column("owner_id", String(64), nullable=False)


def _json(name: str, *, nullable: bool = True) -> Column[Any]:
    # Otherwise None would be stored as JSON's null, which IS NULL does not find.
    return Column(name, JSON(none_as_null=True), nullable=nullable)


def _job(*, nullable: bool = False) -> Column[str]:
    return Column(
        "job_id", ForeignKey("jobs.id", ondelete="CASCADE"), nullable=nullable, index=True
    )


def _description() -> tuple[Column[Any], Column[Any], Column[Any]]:
    """What people call a thing and pin on it, see `descriptions`."""
    return Column("name", String(100)), _json("tags"), Column("notes", String(2000))


def _measured() -> tuple[Column[Any], Column[Any]]:
    """What lists of results are sorted by; see `catalog`."""
    return Column("accuracy", Double), Column("ece", Double)


# Compared byte by byte on both databases: what begins with a word is one stretch of the index.
_TERM = String(150).with_variant(String(150, collation="C"), "postgresql")

metadata = MetaData(
    # Migrations can only change a constraint that has a name, and SQLite gives it none.
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)

_IS_COMPOSITE = _one_of("kind", COMPOSITE_KINDS)

jobs = Table(
    "jobs",
    metadata,
    _id(),
    _owner(),
    Column("kind", String(20), nullable=False),
    Column("state", String(20), nullable=False),
    _json("params", nullable=False),
    Column("dataset", String(64)),
    Column("parent_id", ForeignKey("jobs.id", ondelete="CASCADE")),
    Column("role", String(40)),
    Column("queue", String(20), nullable=False),
    Column("priority", Integer, nullable=False, server_default="0"),
    Column("timeout_seconds", Integer),
    Column("stall_seconds", Integer),
    Column("not_before_at", UtcTime),
    Column("expires_at", UtcTime),
    Column("attempt", Integer, nullable=False, server_default="0"),
    Column("max_attempts", Integer, nullable=False),
    Column("reuse", Boolean, nullable=False, server_default=true()),
    # What decides its results, known once a run has started; see worker.supervisor.recipes.
    Column("recipe", String(64)),
    _json("recipe_ids"),
    Column("reused_from", String(40)),
    Column("retry_of", String(40)),
    Column("request_id", String(64)),
    *_description(),
    # Of its params, for lists.
    Column("method", String(20)),
    Column("images_per_class", Integer),
    Column("mask_ratio", Double),
    Column("fence", Integer, nullable=False, server_default="0"),
    Column("lease_owner", String(200)),
    Column("lease_until_at", UtcTime),
    Column("stop_requested", String(20)),
    Column("stop_deadline_at", UtcTime),
    Column("rung_at", UtcTime),
    _json("progress"),
    _json("error"),
    Column("n_events", Integer, nullable=False, server_default="0"),
    Column("version", Integer, nullable=False, server_default="1"),
    Column("created_at", UtcTime, nullable=False),
    Column("queued_at", UtcTime),
    Column("started_at", UtcTime),
    Column("ended_at", UtcTime),
    CheckConstraint(_one_of("state", (*JOB_STATES, *RESERVED_STATES)), name="state"),
    CheckConstraint(
        f"state NOT IN ('running', 'cancelling') OR {_IS_COMPOSITE} OR lease_until_at IS NOT NULL",
        name="leased",
    ),
    CheckConstraint(
        f"({_one_of('state', TERMINAL_STATES)}) = (ended_at IS NOT NULL)", name="ended"
    ),
    CheckConstraint(
        f"NOT ({_IS_COMPOSITE}) OR state NOT IN ('queued', 'running', 'pausing')", name="composite"
    ),
    Index("ix_jobs_owner_id_id", "owner_id", "id"),
    *(
        Index(f"ix_jobs_owner_id_{name}_id", "owner_id", name, "id")
        for name in ("dataset", "state", "kind", "method", "images_per_class", "mask_ratio")
    ),
    Index("ix_jobs_parent_id_state", "parent_id", "state"),
    Index("ix_jobs_owner_id_recipe", "owner_id", "recipe"),
    Index("ix_jobs_lease", "state", "lease_until_at"),
    Index(
        "ix_jobs_expires_at",
        "expires_at",
        sqlite_where=text("expires_at IS NOT NULL"),
        postgresql_where=text("expires_at IS NOT NULL"),
    ),
)

# In the order of claims, which take the first.
Index("ix_jobs_claim", jobs.c.queue, jobs.c.state, jobs.c.priority.desc(), jobs.c.id)

job_deps = Table(
    "job_deps",
    metadata,
    _owner(),
    Column("job_id", ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True),
    # No cascade: the database itself refuses to delete a job that another one names.
    Column("needs_job_id", ForeignKey("jobs.id"), primary_key=True, index=True),
    # Whether it waits for that one's end alone, however that is.
    Column("is_soft", Boolean, nullable=False, server_default=false()),
)

attempts = Table(
    "attempts",
    metadata,
    _owner(),
    Column("job_id", ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True),
    Column("fence", Integer, primary_key=True),
    Column("attempt", Integer, nullable=False),
    Column("worker", String(200), nullable=False),
    Column("started_at", UtcTime, nullable=False),
    Column("ended_at", UtcTime),
    Column("outcome", String(40)),
    Column("exit_reason", String(500)),
    Column("peak_memory_bytes", BigInteger),
    Column("cpu_seconds", Double),
    Column("resumed_from_step", Integer),
)

events = Table(
    "events",
    metadata,
    _owner(),
    Column("job_id", ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True),
    Column("seq", Integer, primary_key=True),
    Column("type", String(20), nullable=False),
    _json("data", nullable=False),
    Column("created_at", UtcTime, nullable=False),
)

outbox = Table(
    "outbox",
    metadata,
    # SQLite numbers rows by itself in an INTEGER PRIMARY KEY alone.
    Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True),
    _owner(),
    Column("queue", String(20), nullable=False),
    Column("created_at", UtcTime, nullable=False),
)

# A creating request that was sent with a key, and what it made; see app.shared.engine.idempotency.
idempotency_keys = Table(
    "idempotency_keys",
    metadata,
    Column("owner_id", String(64), primary_key=True),
    Column("path", String(200), primary_key=True),
    Column("key", String(255), primary_key=True),
    Column("fingerprint", String(64), nullable=False),
    Column("resource_id", String(40)),
    Column("created_at", UtcTime, nullable=False, index=True),
)

# Uploads of either content share one row of names, since jobs say by name what they read.
datasets = Table(
    "datasets",
    metadata,
    _id(),
    _owner(),
    Column("name", String(64), nullable=False),
    Column("content", String(20), nullable=False, server_default="images"),
    Column("state", String(20), nullable=False),
    Column("sha256", String(64), nullable=False),
    Column("n_bytes", BigInteger, nullable=False),
    _json("facts"),
    _json("problem"),
    _json("tags"),
    Column("notes", String(2000)),
    _job(),
    Column("created_at", UtcTime, nullable=False),
    CheckConstraint(_one_of("state", DATASET_STATES), name="state"),
    CheckConstraint(_one_of("content", DATASET_CONTENTS), name="content"),
    UniqueConstraint("owner_id", "name"),
)

# Each result keeps `details`: what its kind reports of it, beyond what is asked of a column.
expert_sets = Table(
    "expert_sets",
    metadata,
    _id(),
    _owner(),
    _job(),
    Column("dataset", String(64), nullable=False),
    Column("n_experts", Integer, nullable=False),
    *_description(),
    _json("details", nullable=False),
    Column("created_at", UtcTime, nullable=False),
)

distilled_sets = Table(
    "distilled_sets",
    metadata,
    _id(),
    _owner(),
    _job(),
    Column("dataset", String(64), nullable=False),
    Column("method", String(20), nullable=False),
    Column("images_per_class", Integer, nullable=False),
    Column("expert_set_id", ForeignKey("expert_sets.id", ondelete="SET NULL"), index=True),
    *_description(),
    *_measured(),
    _json("details", nullable=False),
    Column("created_at", UtcTime, nullable=False),
    Index("ix_distilled_sets_owner_id_dataset_id", "owner_id", "dataset", "id"),
    Index("ix_distilled_sets_owner_id_method_id", "owner_id", "method", "id"),
    Index("ix_distilled_sets_owner_id_accuracy_id", "owner_id", "accuracy", "id"),
)

models = Table(
    "models",
    metadata,
    _id(),
    _owner(),
    _job(),
    Column("dataset", String(64), nullable=False),
    Column("training_set", String(20), nullable=False),
    Column("distilled_set_id", ForeignKey("distilled_sets.id", ondelete="SET NULL"), index=True),
    *_description(),
    *_measured(),
    _json("details", nullable=False),
    Column("created_at", UtcTime, nullable=False),
    Index("ix_models_owner_id_dataset_id", "owner_id", "dataset", "id"),
    Index("ix_models_owner_id_accuracy_id", "owner_id", "accuracy", "id"),
    Index("ix_models_owner_id_ece_id", "owner_id", "ece", "id"),
)

calibrations = Table(
    "calibrations",
    metadata,
    _id(),
    _owner(),
    _job(),
    # None for a calibration of uploaded logits: the network behind them is not here.
    Column("model_id", ForeignKey("models.id", ondelete="CASCADE"), index=True),
    Column("method", String(20), nullable=False),
    Column("fit_on", String(20)),
    Column("status", String(30), nullable=False),
    Column("temperature", Double),
    Column("dataset", String(64)),
    *_description(),
    *_measured(),
    _json("details", nullable=False),
    Column("created_at", UtcTime, nullable=False),
    Index("ix_calibrations_owner_id_dataset_id", "owner_id", "dataset", "id"),
    Index("ix_calibrations_owner_id_method_id", "owner_id", "method", "id"),
    Index("ix_calibrations_owner_id_accuracy_id", "owner_id", "accuracy", "id"),
    Index("ix_calibrations_owner_id_ece_id", "owner_id", "ece", "id"),
)

reports = Table(
    "reports",
    metadata,
    _id(),
    _owner(),
    _job(),
    Column("dataset", String(64), nullable=False),
    *_description(),
    *_measured(),
    _json("details", nullable=False),
    Column("created_at", UtcTime, nullable=False),
    Index("ix_reports_owner_id_dataset_id", "owner_id", "dataset", "id"),
    Index("ix_reports_owner_id_accuracy_id", "owner_id", "accuracy", "id"),
    Index("ix_reports_owner_id_ece_id", "owner_id", "ece", "id"),
)

comparisons = Table(
    "comparisons",
    metadata,
    _id(),
    _owner(),
    _job(),
    # None of reports on several.
    Column("dataset", String(64)),
    *_description(),
    _json("details", nullable=False),
    Column("created_at", UtcTime, nullable=False),
    Index("ix_comparisons_owner_id_dataset_id", "owner_id", "dataset", "id"),
)

report_calibrations = Table(
    "report_calibrations",
    metadata,
    _owner(),
    Column("report_id", ForeignKey("reports.id", ondelete="CASCADE"), primary_key=True),
    Column(
        "calibration_id",
        ForeignKey("calibrations.id", ondelete="CASCADE"),
        primary_key=True,
        index=True,
    ),
)

artifacts = Table(
    "artifacts",
    metadata,
    _id(),
    _owner(),
    _job(),
    Column("resource_id", String(40), nullable=False, index=True),
    Column("name", String(100), nullable=False),
    Column("media_type", String(100), nullable=False),
    Column("sha256", String(64), nullable=False),
    Column("n_bytes", BigInteger, nullable=False),
    Column("created_at", UtcTime, nullable=False),
    UniqueConstraint("resource_id", "name"),
)

# By which jobs, uploads and results are found; see app.shared.store.descriptions, the only writer.
search_terms = Table(
    "search_terms",
    metadata,
    _owner(),
    Column("resource_id", String(40), primary_key=True),
    Column("term", _TERM, primary_key=True),
    _job(),
    Index("ix_search_terms_owner_id_term_resource_id", "owner_id", "term", "resource_id"),
)
