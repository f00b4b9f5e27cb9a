"""Every refusal of the service: statuses from its errors, codes from where they are raised."""

import ast
import inspect
import re
from collections.abc import Iterator
from pathlib import Path

from app.shared import errors
from documentation.schemas import cell

APP = Path(errors.__file__).resolve().parents[1]
_CODE = re.compile(r"[a-z]+(?:_[a-z]+)+")
_OF_FIELDS = ("FieldProblem", "refused_parameter", "refuse")


def problems_page() -> str:
    """Give a table of statuses, one of codes, and one of the codes of single fields."""
    kinds = _kinds()
    called = sorted(set(_calls()))
    statuses = [
        f"| {kind.status} | {cell(kind.title)} | {cell((kind.__doc__ or '').splitlines()[0])} |"
        for kind in sorted(kinds.values(), key=lambda kind: kind.status)
        if kind is not errors.DdcalError
    ]
    codes = [
        f"| `{code}` | {kinds[name].status} | {cell(says)} |"
        for name, code, says in called
        if name in kinds
    ]
    fields = [f"| `{code}` | {cell(says)} |" for name, code, says in called if name in _OF_FIELDS]
    return "\n".join(
        [
            "# Errors",
            "",
            "Every refusal is `application/problem+json` (RFC 9457): `status`, `title`, `detail`, "
            "which says what was wanted and what was got, and `code`, a stable word for programs. "
            "`errors` holds each wrong field with a JSON `pointer`, a `code` and a `detail`.",
            "",
            *("## Statuses", "", "| Status | Title | When |", "|---|---|---|", *statuses, ""),
            *("## Codes", "", "… stands for what was asked or found.", ""),
            *("| Code | Status | Says |", "|---|---|---|", *codes, ""),
            *("## Codes of fields", "", "| Code | Says |", "|---|---|", *fields, ""),
        ]
    )


def _kinds() -> dict[str, type[errors.DdcalError]]:
    return {
        name: kind
        for name, kind in inspect.getmembers(errors, inspect.isclass)
        if issubclass(kind, errors.DdcalError) and kind is not errors.FencedOutError
    }


def _calls() -> Iterator[tuple[str, str, str]]:
    """Each call with a code and a sentence one after the other: what is called, and both."""
    for path in sorted(APP.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call):
                name = getattr(node.func, "id", getattr(node.func, "attr", ""))
                for code, says in zip(node.args, node.args[1:], strict=False):
                    if isinstance(code, ast.Constant) and _CODE.fullmatch(str(code.value)):
                        words = _words(says)
                        if words:
                            yield name, str(code.value), words


def _words(node: ast.expr) -> str:
    """A sentence with … for what is filled in; nothing where it is none."""
    match node:
        case ast.Constant(value=str(text)):
            return text if " " in text else ""
        case ast.JoinedStr(values=values):
            parts = [one.value if isinstance(one, ast.Constant) else "…" for one in values]
            return "".join(map(str, parts))
        case _:
            return ""
