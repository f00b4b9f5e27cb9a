"""Which results cannot be had in which format, told before any work is begun."""

from typing import assert_never

from app.shared.errors import FieldProblem, InvalidRequestError
from app.shared.store.catalog import Result
from ddcal_core.specs.exports import ExportFormat, SetFormat


def check_export(result: Result, word: ExportFormat) -> None:
    """Refuse a format that cannot hold a result.

    Raises:
        InvalidRequestError: it cannot; says what is in the way, and what to take instead.
    """
    why = _why_not(result, word)
    if why is not None:
        problem = FieldProblem("/query/format", "not_applicable", why)
        raise InvalidRequestError("invalid_parameters", why, [problem])


def _why_not(result: Result, word: SetFormat) -> str | None:
    match word:
        case "imagefolder":
            if "soft_labels" in result.details.get("tensors", {}):
                return (
                    f"wanted hard labels, as a folder is of one class; those of {result.id} are soft: "
                    "take safetensors or npz"
                )
            return None
        case "safetensors" | "npz":
            return None
        case _:
            assert_never(word)
