"""Which results cannot be had in which format, told before any work is begun."""

from collections.abc import Mapping
from typing import Any

from app.shared.errors import FieldProblem, InvalidRequestError, NotFoundError
from app.shared.store.catalog import Result, find_result
from app.shared.store.database import Connection
from ddcal_core.specs.exports import ExportFormat

# A folder is of one class, and so is a class number.
HARD_LABELS_ONLY: frozenset[ExportFormat] = frozenset({"imagefolder", "dc"})
FOLDED: frozenset[ExportFormat] = frozenset({"onnx", "pt2"})


# What a graph of ONNX, of which nobody has the parameters by their names, cannot become.
NOT_OF_GRAPHS: frozenset[ExportFormat] = frozenset({"safetensors", "pt2"})


def check_export(connection: Connection, owner_id: str, result: Result, word: ExportFormat) -> None:
    """Refuse a format that cannot hold a result.

    Raises:
        InvalidRequestError: it cannot; says what is in the way, and what to take instead.
    """
    why = _why_not(result, word)
    if why is None and word in NOT_OF_GRAPHS and _is_graph(connection, owner_id, result):
        why = "wanted a network of PyTorch, got a graph of ONNX that was imported: take onnx"
    if why is not None:
        problem = FieldProblem("/query/format", "not_applicable", f"{word} of {result.id}: {why}")
        raise InvalidRequestError("invalid_parameters", problem.detail, [problem])


def _is_graph(connection: Connection, owner_id: str, result: Result) -> bool:
    """Whether it is, or calibrates, a network that came in as ONNX."""
    if result.resource == "calibration":
        try:
            model = find_result(connection, owner_id, "model", result.columns["model_id"])
        except NotFoundError:
            return False
        return _is_graph(connection, owner_id, model)
    return result.resource == "model" and result.details["network"]["name"] == "onnx"


def _why_not(result: Result, word: ExportFormat) -> str | None:
    details = result.details
    if result.resource == "distilled_set":
        is_soft = "soft_labels" in details.get("tensors", {})
        if is_soft and word in HARD_LABELS_ONLY:
            return "wanted hard labels, got soft ones: take safetensors or npz"
        return None
    return _why_not_calibrated(details, word) if result.resource == "calibration" else None


def _why_not_calibrated(details: Mapping[str, Any], word: ExportFormat) -> str | None:
    if details.get("model_id") is None:
        return "wanted the calibration of a network, got that of uploaded logits: it has none here"
    if word not in FOLDED:
        return None
    if details["method"] == "isotonic":
        return (
            "wanted a calibration that can be folded into a network, got isotonic regression: take "
            "safetensors, whose scaling.json says how to apply it"
        )
    if details["method"] != "vector" and details.get("temperature") is None:
        return f"wanted a calibration that has found something; it is {details['status']}"
    return None
