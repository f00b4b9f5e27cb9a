"""Which reports have measured a result: what its card may say of it."""

from sqlalchemy import Connection, select

from app.shared.store.catalog import Result
from app.shared.store.tables import calibrations, models, report_calibrations

MOST_REPORTS = 3


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
