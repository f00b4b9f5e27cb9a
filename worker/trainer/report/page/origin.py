"""Which job made a page: shown on the page alone, so that report.json stays a matter of numbers."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

from worker.trainer.inputs import Task


@dataclass(frozen=True)
class Origin:
    """Which job made a page, and when.

    Attributes:
        job_id: of the job that computed it; another that takes its results over keeps it.
        computed_at: in UTC.
        version: of ddcal.
        request: as it can be submitted again.
    """

    job_id: str
    computed_at: datetime
    version: str
    request: Mapping[str, Any]

    @property
    def date(self) -> str:
        """The day, for people."""
        return f"{self.computed_at.day} {self.computed_at:%B %Y}"

    @property
    def request_text(self) -> str:
        """The request as JSON, for people."""
        return json.dumps(self.request, indent=1, ensure_ascii=False)


def origin_of(task: Task, kind: str) -> Origin:
    """Give the origin of what a task makes now.

    Args:
        task: the job.
        kind: of the job.
    """
    return Origin(
        job_id=task.job_id,
        computed_at=datetime.now(UTC),
        version=version("ddcal"),
        request={"kind": kind, "params": task.params},
    )
