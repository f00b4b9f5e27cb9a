"""Which results cannot be had in which format, told before any work is begun."""

from collections.abc import Collection, Mapping
from typing import Any

from app.shared.store.catalog import Result
from ddcal_core.specs.exports import FORMATS, ExportFormat

# A folder is of one class, and so is a class number.
HARD_LABELS_ONLY: frozenset[ExportFormat] = frozenset({"imagefolder", "dc"})
FOLDED: frozenset[ExportFormat] = frozenset({"onnx", "pt2"})
# What a graph of ONNX, of which nobody has the parameters by their names, cannot become.
NOT_OF_GRAPHS: frozenset[ExportFormat] = frozenset({"safetensors", "pt2"})
_GRAPH_FILE = "model.onnx"


def why_not_exported(result: Result, word: ExportFormat, file_names: Collection[str]) -> str | None:
    """Why a result cannot be had in a format, with what to take instead; None where it can.

    Args:
        result: its row.
        word: the format's.
        file_names: of the files that its own job has written.
    """
    why = None
    if result.resource == "distilled_set":
        why = _why_not_set(result.details, word)
    elif result.resource == "calibration":
        why = _why_not_calibrated(result.details, word)
    if why is None and word in NOT_OF_GRAPHS and _GRAPH_FILE in file_names:
        why = "wanted a network of PyTorch, got a graph of ONNX that was imported: take onnx"
    if why is not None:
        return why
    facts = FORMATS[result.resource][word]
    if facts.is_stored and facts.file_name not in file_names:
        return f"wanted {facts.file_name} among its files; its job has written none"
    return None


_NOT_FOLDED: Mapping[str, str] = {
    "isotonic": "isotonic regression",
    "ets": "ensemble temperature scaling",
}


def _why_not_set(details: Mapping[str, Any], word: ExportFormat) -> str | None:
    is_soft = "soft_labels" in details.get("tensors", {})
    if is_soft and word in HARD_LABELS_ONLY:
        return "wanted hard labels, got soft ones: take safetensors or npz"
    return None


def _why_not_calibrated(details: Mapping[str, Any], word: ExportFormat) -> str | None:
    if details.get("model_id") is None:
        return "wanted the calibration of a network, got that of uploaded logits: it has none here"
    if word not in FOLDED:
        return None
    if (name := _NOT_FOLDED.get(details["method"])) is not None:
        return (
            f"wanted a calibration that can be folded into a network, got {name}: take "
            "safetensors, whose scaling.json says how to apply it"
        )
    if details["method"] != "vector" and details.get("temperature") is None:
        return f"wanted a calibration that has found something; it is {details['status']}"
    return None
