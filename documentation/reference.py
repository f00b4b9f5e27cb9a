"""The reference pages of the site, made from the code when it is built."""

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from typer import Context
from typer.cli import get_docs_for_click
from typer.main import get_command

from ddcal.cli.main import app
from ddcal_core.specs.exports import FORMATS
from documentation.problems import problems_page
from documentation.schemas import cell, reachable, schema_section, type_words
from documentation.tables import RESOURCES
from worker.trainer.report.conventions import CONVENTIONS

DOCUMENT = Path(__file__).resolve().parents[1] / "docs" / "openapi.json"
_PYTHON = {
    "ddcal": "",
    "ddcal.torch": "What was downloaded, as PyTorch has it.",
    "ddcal.local": "Calibration and metrics without a service.",
}
_METRICS = ("ddcal_core.metrics", "ddcal_core.calibration.temperature")


def requests_page() -> str:
    """Give every field of every request."""
    schemas = _document()["components"]["schemas"]
    mapping = schemas["JobRequest"]["discriminator"]["mapping"]
    names = [reference.rpartition("/")[2] for reference in mapping.values()]
    return "\n".join(
        [
            "# Requests",
            "",
            "What `POST /v1/jobs`, `ddcal submit` and `client.submit` take, with every default. "
            "How to use it: [Submit a job](../requests.md).",
            "",
            *(schema_section(name, schemas[name]) for name in reachable(names, schemas)),
        ]
    )


def http_api_page() -> str:
    """Give every operation with its parameters and answers."""
    lines = [
        "# HTTP API",
        "",
        "The same as `/docs` of a running service, where it can be tried. For generators of "
        "clients: [openapi.json](../openapi.json), served as `/openapi.json`.",
        "",
    ]
    for path, operations in _document()["paths"].items():
        for method, operation in operations.items():
            lines += _operation(method, path, operation)
    return "\n".join(lines)


def _operation(method: str, path: str, operation: Mapping[str, Any]) -> Iterator[str]:
    yield from (f"## {operation['summary']}", "", f"`{method.upper()} {path}`", "")
    yield from (operation.get("description", ""), "")
    parameters = operation.get("parameters", [])
    if parameters:
        yield from ("| Parameter | In | Type | Meaning |", "|---|---|---|---|")
        for one in parameters:
            kind = type_words(one.get("schema", {})).replace("(#", "(requests.md#")
            said = cell(one.get("description", ""))
            yield f"| `{one['name']}` | {one['in']} | {kind} | {said} |"
        yield ""
    yield from ("| Status | Answer |", "|---|---|")
    for status, answer in operation["responses"].items():
        yield f"| {status} | {cell(answer.get('description', ''))} |"
    yield ""


def formats_page() -> str:
    """Give every format with the lines that read it."""
    lines = ["# Formats", "", "How to get one: [Results in other formats](../formats.md).", ""]
    for resource, of in RESOURCES.items():
        for word, facts in FORMATS[resource].items():
            lines += [
                *(f"## {of[0].upper()}{of[1:]}: {word}", "", facts.description, ""),
                *(f"`{facts.file_name}`", "", "```python", facts.use.strip(), "```", ""),
            ]
    return "\n".join(lines)


def metrics_page() -> str:
    """Give each number's convention as reports have it, and the functions that compute them."""
    rows = [f"| {key.replace('_', ' ')} | {cell(said)} |" for key, said in CONVENTIONS.items()]
    return "\n".join(
        [
            *("# Metrics", "", "What each number of a report is, word for word as it says so.", ""),
            *("| Number | Convention |", "|---|---|", *rows, ""),
            *("## In Python", "", *(f"::: {name}\n" for name in _METRICS)),
        ]
    )


def python_page() -> str:
    """Give what `import ddcal` has, for mkdocstrings to fill in from the docstrings."""
    lines = ["# Python", "", "How to use it: [Python and the command line](../client.md).", ""]
    for name, said in _PYTHON.items():
        lines += [f"## {name}", "", said, "", f"::: {name}", ""]
    return "\n".join(lines)


def command_line_page() -> str:
    """Give every command with its arguments and options, as Typer writes it."""
    command = get_command(app)
    context = Context(command, info_name="ddcal")
    written: str = get_docs_for_click(obj=command, ctx=context, name="ddcal", title="Command line")
    return written


def _document() -> dict[str, Any]:
    read: dict[str, Any] = json.loads(DOCUMENT.read_text(encoding="utf-8"))
    return read


PAGES: Mapping[str, Callable[[], str]] = {
    "reference/requests.md": requests_page,
    "reference/http-api.md": http_api_page,
    "reference/errors.md": problems_page,
    "reference/formats.md": formats_page,
    "reference/metrics.md": metrics_page,
    "reference/python.md": python_page,
    "reference/command-line.md": command_line_page,
}
"""By their place on the site."""
