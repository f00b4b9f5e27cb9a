"""The tables in docs/ that come from the code: `python -m documentation.tables` writes them anew.

They stand between two comments, <!-- NAME: from the code --> and <!-- end of NAME -->.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from app.shared.settings import PREFIX, Settings
from ddcal_core.specs.exports import FORMATS
from ddcal_core.specs.results import Resource

DOCS = Path(__file__).resolve().parents[1] / "docs"
SETTINGS: Mapping[str, tuple[str, ...]] = {
    "Where things are": (
        *("data_folder", "database_url", "redis_url", "dataset_folder", "allow_downloads"),
    ),
    "Who is answered": ("host", "port", "api_key", "no_key", "log_level"),
    "Sizes": ("max_upload_bytes", "max_decoded_bytes", "max_experts_bytes", "min_free_bytes"),
    "Runs of jobs": (
        *("lease_seconds", "heartbeat_seconds", "max_attempts", "retry_seconds", "start_seconds"),
        *("stall_seconds", "stop_grace_seconds", "intake_timeout_seconds", "trainer_memory_bytes"),
        *("trainer_threads", "workers", "checkpoint_seconds", "ring_again_seconds"),
        *("reconcile_seconds", "intakes", "confine_jobs", "hang_seconds"),
    ),
    "What is kept": (
        *("housekeeping_seconds", "scrub_bytes", "leftover_seconds", "kept_checkpoint_bytes"),
        *("kept_job_days", "kept_job_bytes", "kept_expert_days", "kept_expert_bytes"),
        "kept_key_days",
    ),
}
"""Every setting under a heading."""
RESOURCES: Mapping[Resource, str] = {
    "distilled_set": "a distilled set",
    "model": "a network",
    "calibration": "a calibrated network",
    "report": "a report",
    "comparison": "a comparison",
    "expert_set": "a set of experts",
}
_LINKED = {
    "docs/access.md": "[access.md](access.md#on-a-network)",
    "SECURITY.md": "[SECURITY.md](../SECURITY.md#what-confines-a-job)",
}


def settings_tables() -> str:
    """Give a table a heading: variable, default, meaning."""
    return "\n\n".join(
        f"## {heading}\n\n| Variable | Default | Meaning |\n|---|---|---|\n"
        + "\n".join(map(_setting, names))
        for heading, names in SETTINGS.items()
    )


def _setting(name: str) -> str:
    field = Settings.model_fields[name]
    default = field.default
    written = "unset" if default is None else "empty" if default == "" else f"`{default}`"
    if isinstance(default, bool):
        written = f"`{int(default)}`"
    meaning = field.description or ""
    for words, link in _LINKED.items():
        meaning = meaning.replace(words, link)
    return f"| `{PREFIX}{name.upper()}` | {written} | {meaning} |"


def formats_table() -> str:
    """Give a row a format: of what, its word, its file, what it holds."""
    return "\n".join(["| Of | Format | File | What it holds |", "|---|---|---|---|", *_formats()])


def _formats() -> Iterator[str]:
    for resource, of in RESOURCES.items():
        for word, facts in FORMATS[resource].items():
            yield f"| {of} | `{word}` | `{facts.file_name}` | {facts.description} |"


TABLES: Mapping[str, tuple[str, Callable[[], str]]] = {
    "settings.md": ("settings", settings_tables),
    "formats.md": ("formats", formats_table),
}
"""By page: the name of what is written, and what writes it."""


def with_tables(page: str) -> str:
    """Give a page of docs/ with its tables as the code has them.

    Args:
        page: its name.

    Raises:
        ValueError: the comments that they stand between are not there.
    """
    name, write = TABLES[page]
    start, end = f"<!-- {name}: from the code -->\n", f"<!-- end of {name} -->"
    text = (DOCS / page).read_text(encoding="utf-8")
    pattern = re.compile(re.escape(start) + ".*?" + re.escape(end), re.DOTALL)
    written, n_found = pattern.subn(lambda _: f"{start}\n{write()}\n\n{end}", text)
    if n_found != 1:
        raise ValueError(f"wanted {start.strip()} … {end} once in {page}, got it {n_found} times")
    return written


if __name__ == "__main__":
    for one in TABLES:
        (DOCS / one).write_text(with_tables(one), encoding="utf-8")
