"""How well a result does, in the two numbers that lists are filtered and sorted by.

Of a distilled set the accuracy on validation images by which it was chosen; of a report its best
rows', those on the full data left out; of calibrations and models those of their row in the newest
report, mean over its networks, of models before calibration.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from sqlalchemy import Connection, select, update

from app.shared.store.tables import calibrations, models
from ddcal_core.specs.results import Resource

Values = Mapping[str, Any]


def measured(resource: Resource, values: Values) -> dict[str, float | None]:
    """The columns `accuracy` and `ece` of a new result; empty where its kind has none."""
    match resource:
        case "distilled_set":
            return {"accuracy": _chosen_accuracy(values), "ece": None}
        case "report":
            rows = values.get("rows", ())
            small = [row for row in rows if row.get("training_set") != "full"] or rows
            return {
                "accuracy": max(_means(small, "accuracy"), default=None),
                "ece": min(_means(small, "ece"), default=None),
            }
        case "model" | "calibration":
            return {"accuracy": None, "ece": None}
        case "expert_set" | "comparison":
            return {}


def record_measured(connection: Connection, report: Values) -> None:
    """Write into calibrations and their models what a new report has measured of them."""
    every = {one for row in report.get("rows", ()) for one in row.get("calibration_ids", ())}
    # Reports that end at once lock what they share in one order.
    measured_ones = select(calibrations.c.model_id).where(calibrations.c.id.in_(every))
    held = measured_ones.order_by(calibrations.c.id).with_for_update()
    model_ids = set(connection.execute(held).scalars())
    of_models = select(models.c.id).where(models.c.id.in_(model_ids)).order_by(models.c.id)
    connection.execute(of_models.with_for_update())
    for row in report.get("rows", ()):
        ids = row.get("calibration_ids", ())
        after, before = _numbers(row), _numbers(row.get("before") or {})
        if not ids or not after:
            continue
        connection.execute(update(calibrations).where(calibrations.c.id.in_(ids)).values(**after))
        if before:
            of_row = select(calibrations.c.model_id).where(calibrations.c.id.in_(ids))
            connection.execute(update(models).where(models.c.id.in_(of_row)).values(**before))


def _chosen_accuracy(values: Values) -> float | None:
    scored = values.get("validation_accuracies") or ()
    chosen = values.get("chosen_step")
    return next((float(one["accuracy"]) for one in scored if one["step"] == chosen), None)


def _numbers(row: Values) -> dict[str, float]:
    found = {name: next(iter(_means([row], name)), None) for name in ("accuracy", "ece")}
    return {name: value for name, value in found.items() if value is not None}


def _means(rows: Iterable[Values], name: str) -> list[float]:
    """A measure of each row that has it: a summary's mean, or one network's number."""
    found = [row.get(name) for row in rows]
    means = [one.get("mean") if isinstance(one, Mapping) else one for one in found]
    return [float(mean) for mean in means if mean is not None]
