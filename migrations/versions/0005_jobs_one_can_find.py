"""Names, tags and notes, an index of their words, and columns that lists are filtered and sorted by.

What the new columns say of rows that exist is read from their params and details. Nothing here
copies `jobs` on SQLite, which would lose its trigger: columns are added and dropped in place.

Revision ID: 0005
Revises: 0004
"""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

RESULTS = ("expert_sets", "distilled_sets", "models", "calibrations", "reports")
MEASURED = RESULTS[1:]
INDEXED = {
    "jobs": ("dataset", "state", "kind", "method", "images_per_class", "mask_ratio"),
    "distilled_sets": ("dataset", "method", "accuracy"),
    "models": ("dataset", "accuracy", "ece"),
    "calibrations": ("dataset", "method", "accuracy", "ece"),
    "reports": ("dataset", "accuracy", "ece"),
}
ROWS_AT_ONCE = 500
Values = Mapping[str, Any]


def upgrade() -> None:
    for table, columns in _new_columns().items():
        for column in columns:
            op.add_column(table, column)
    term = sa.String(length=150).with_variant(sa.String(length=150, collation="C"), "postgresql")
    op.create_table(
        "search_terms",
        sa.Column("owner_id", sa.String(length=64), nullable=False),
        sa.Column("resource_id", sa.String(length=40), nullable=False),
        sa.Column("term", term, nullable=False),
        sa.Column("job_id", sa.String(length=40), nullable=False),
        sa.ForeignKeyConstraint(
            ["job_id"], ["jobs.id"], name=op.f("fk_search_terms_job_id_jobs"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("resource_id", "term", name=op.f("pk_search_terms")),
    )
    op.create_index(op.f("ix_search_terms_job_id"), "search_terms", ["job_id"])
    op.create_index(
        "ix_search_terms_owner_id_term_resource_id",
        "search_terms",
        ["owner_id", "term", "resource_id"],
    )
    _fill("jobs", "params", _of_params)
    _fill("distilled_sets", "details", _of_set)
    _fill("calibrations", "details", lambda details: {"dataset": details.get("dataset")})
    _fill("reports", "details", _of_report)
    _index_names_of_uploads()
    # Indexes last: they are made once, of rows that are complete.
    op.drop_index("ix_jobs_owner_id_dataset", table_name="jobs")
    for table, names in INDEXED.items():
        for name in names:
            op.create_index(f"ix_{table}_owner_id_{name}_id", table, ["owner_id", name, "id"])


def downgrade() -> None:
    """Back, without names, tags and notes."""
    for table, names in INDEXED.items():
        for name in names:
            op.drop_index(f"ix_{table}_owner_id_{name}_id", table_name=table)
    op.create_index("ix_jobs_owner_id_dataset", "jobs", ["owner_id", "dataset"])
    op.drop_table("search_terms")
    for table, columns in _new_columns().items():
        for column in reversed(columns):
            op.drop_column(table, column.name)


def _new_columns() -> dict[str, list[sa.Column[Any]]]:
    found = {"jobs": [*_description(), *_of_jobs()], "datasets": _description()[1:]}
    for table in RESULTS:
        own = [sa.Column("dataset", sa.String(length=64))] if table == "calibrations" else []
        measured = [sa.Column(name, sa.Double()) for name in ("accuracy", "ece")]
        found[table] = [*own, *_description(), *(measured if table in MEASURED else [])]
    return found


def _description() -> list[sa.Column[Any]]:
    return [
        sa.Column("name", sa.String(length=100)),
        sa.Column("tags", sa.JSON(none_as_null=True)),
        sa.Column("notes", sa.String(length=2000)),
    ]


def _of_jobs() -> list[sa.Column[Any]]:
    return [
        sa.Column("method", sa.String(length=20)),
        sa.Column("images_per_class", sa.Integer()),
        sa.Column("mask_ratio", sa.Double()),
    ]


def _fill(table: str, source: str, read: Callable[[Values], Values]) -> None:
    """Write what `read` makes of each row's JSON into its new columns, some rows at a time."""
    columns = [sa.column("id"), sa.column(source, sa.JSON()), *map(sa.column, read({}))]
    rows, last = sa.table(table, *columns), ""
    writing = sa.update(rows).where(rows.c.id == sa.bindparam("of"))
    part = sa.select(rows.c.id, rows.c[source]).order_by(rows.c.id).limit(ROWS_AT_ONCE)
    connection = op.get_bind()
    while found := connection.execute(part.where(rows.c.id > last)).all():
        last = found[-1][0]
        read_of = [(id_, read(held)) for id_, held in found if isinstance(held, Mapping)]
        values = [{"of": id_, **of} for id_, of in read_of if set(of.values()) != {None}]
        if values:
            connection.execute(writing, values)


def _index_names_of_uploads() -> None:
    """Uploads are found by the words of their names; nothing else has a name yet."""
    connection = op.get_bind()
    names = ("owner_id", "id", "job_id", "name")
    terms = sa.table("search_terms", *map(sa.column, ("owner_id", "resource_id", "job_id", "term")))
    for row in connection.execute(sa.select(sa.table("datasets", *map(sa.column, names)))).all():
        of_it = {"owner_id": row.owner_id, "resource_id": row.id, "job_id": row.job_id}
        words = sorted(set(re.findall(r"[^\W_]+", row.name.casefold())))
        connection.execute(sa.insert(terms), [{**of_it, "term": word[:40]} for word in words])


def _of_params(params: Values) -> Values:
    distill, source = _object(params, "distill"), _object(params, "training_set")
    return {
        "method": distill.get("method"),
        "images_per_class": distill.get("images_per_class", source.get("images_per_class")),
        "mask_ratio": _object(distill, "mask").get("ratio"),
    }


def _of_set(details: Values) -> Values:
    scored, chosen = details.get("validation_accuracies") or (), details.get("chosen_step")
    return {"accuracy": next((one["accuracy"] for one in scored if one["step"] == chosen), None)}


def _of_report(details: Values) -> Values:
    rows = details.get("rows") or ()
    small = [row for row in rows if row.get("training_set") != "full"] or rows
    return {
        "accuracy": max(_means(small, "accuracy"), default=None),
        "ece": min(_means(small, "ece"), default=None),
    }


def _means(rows: Sequence[Values], name: str) -> list[float]:
    found = [row.get(name) for row in rows]
    means = [one.get("mean") if isinstance(one, Mapping) else one for one in found]
    return [mean for mean in means if isinstance(mean, float | int)]


def _object(held: Values, name: str) -> Values:
    found = held.get(name)
    return found if isinstance(found, Mapping) else {}
