"""What a result's card may say of it: which reports have measured it, what its data set is."""

from sqlalchemy import Connection, select

from app.shared.store.catalog import Result
from app.shared.store.tables import calibrations, datasets, models, report_calibrations

MOST_REPORTS = 3
DECLARED = {"licence": ("licence", "license"), "source": ("source",)}
"""What is said of an upload -> the tags that say it."""


def reports_on(connection: Connection, owner_id: str, result: Result) -> list[str]:
    """Ids of the newest reports on a calibration, a model, or networks trained on a set."""
    columns = {
        "calibration": calibrations.c.id,
        "model": calibrations.c.model_id,
        "distilled_set": models.c.distilled_set_id,
    }
    column = columns.get(result.resource)
    if column is None:
        return []
    found = (
        select(report_calibrations.c.report_id)
        .join(calibrations, calibrations.c.id == report_calibrations.c.calibration_id)
        .join(models, models.c.id == calibrations.c.model_id)
        .where(report_calibrations.c.owner_id == owner_id, column == result.id)
        .distinct()
        .order_by(report_calibrations.c.report_id.desc())
    )
    return list(connection.execute(found.limit(MOST_REPORTS)).scalars())


def declared_of(connection: Connection, owner_id: str, result: Result) -> dict[str, str]:
    """What the tags of the data set say of its licence and source; empty where they say nothing.

    An upload made anew under the old name is another data set, and says nothing of this one.
    """
    name = result.columns.get("dataset")
    upload = select(datasets.c.tags).where(
        datasets.c.owner_id == owner_id,
        datasets.c.name == name,
        datasets.c.created_at <= result.created_at,
    )
    tags = connection.execute(upload).scalar_one_or_none() or {}
    said = {
        word: next((tags[key] for key in keys if key in tags), None)
        for word, keys in DECLARED.items()
    }
    return {word: value for word, value in said.items() if value}
