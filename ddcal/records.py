"""What the service answers, typed; fields that a newer service adds are kept beside the others."""

from collections.abc import Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

TERMINAL_STATES = frozenset({"succeeded", "partial", "failed", "cancelled", "expired"})
SUCCEEDED, PARTIAL = "succeeded", "partial"
RESOURCES: Mapping[str, str] = MappingProxyType(
    {
        "expert_set": "expert-sets",
        "distilled_set": "distilled-sets",
        "model": "models",
        "calibration": "calibrations",
        "report": "reports",
        "comparison": "comparisons",
    }
)
"""What jobs make -> the last part of the URL of its list."""

RESULT_PREFIXES: Mapping[str, str] = MappingProxyType(
    {
        "exp": "expert_set",
        "set": "distilled_set",
        "mdl": "model",
        "cal": "calibration",
        "rep": "report",
        "cmp": "comparison",
    }
)
"""What a result's id begins with -> what it is."""

IMPORTS: Mapping[str, str] = MappingProxyType(
    {"distilled_sets": "distilled_set", "network": "model"}
)
"""What an upload's job makes, by what it holds."""
MAKERS: Mapping[str, str] = MappingProxyType(
    {
        "experts": "expert_set",
        "distill": "distilled_set",
        "train": "model",
        "calibrate": "calibration",
        "evaluate": "report",
        "compare": "comparison",
    }
)
"""The kind of a job -> what it makes."""


class Record(BaseModel):
    """Something that the service answered."""

    model_config = ConfigDict(frozen=True, extra="allow")


class Progress(Record):
    """Where a running job is."""

    phase: str = ""
    step: int = 0
    steps: int = 0
    fraction: float = 0.0
    eta_seconds: float | None = None
    values: dict[str, float] = Field(default_factory=dict)


class JobProblem(Record):
    """Why a job failed."""

    type: str = "internal"
    message: str = ""

    def __str__(self) -> str:
        """In one line."""
        return f"{self.type}: {self.message}"


class Child(Record):
    """One job of a pipeline."""

    id: str
    kind: str
    state: str
    role: str | None = None
    reused_from: str | None = None
    progress: Progress | None = None


class ResultLink(Record):
    """A result, named."""

    resource: str
    id: str


class Attempt(Record):
    """One run of a job."""

    attempt: int
    worker: str | None = None
    started_at: datetime | None = None
    ended_at: datetime | None = None
    outcome: str | None = None
    exit_reason: str | None = None


class JobRecord(Record):
    """A job as the service shows it; lists leave out params, attempts, children and results."""

    id: str
    kind: str
    state: str
    name: str | None = None
    tags: dict[str, str] = Field(default_factory=dict)
    notes: str | None = None
    dataset: str | None = None
    role: str | None = None
    parent_id: str | None = None
    retry_of: str | None = None
    reused_from: str | None = None
    attempt: int = 0
    place_in_queue: int | None = None
    progress: Progress | None = None
    error: JobProblem | None = None
    created_at: datetime | None = None
    started_at: datetime | None = None
    ended_at: datetime | None = None
    params: dict[str, Any] = Field(default_factory=dict)
    attempts: tuple[Attempt, ...] = ()
    children: tuple[Child, ...] = ()
    counts: dict[str, int] = Field(default_factory=dict)
    results: tuple[ResultLink, ...] = ()

    @property
    def n_parts(self) -> int:
        """How many jobs a pipeline or study has; 0 of any other job."""
        return sum(self.counts.values()) or len(self.children)

    @property
    def is_done(self) -> bool:
        """Has it ended, in whichever way?"""
        return self.state in TERMINAL_STATES

    @property
    def title(self) -> str:
        """What it is called: its name, its place in a pipeline, or its kind."""
        return self.name or self.role or self.kind


class RefusedCell(Record):
    """A cell of a study that could not be submitted, and why."""

    settings: dict[str, Any] = Field(default_factory=dict)
    errors: tuple[dict[str, Any], ...] = ()


class PlanRecord(Record):
    """What a submission would do; nothing of it is written.

    Attributes:
        n_cells: of a study, those that could be submitted; else 1.
        n_jobs: what cells share counted once.
        jobs: how many of each kind.
        estimated_seconds: of the jobs like which others have been run, one after the other.
        estimated_bytes: likewise, of their results.
        n_without_estimate: jobs of which none like it has been run.
        refused: with any, the study would be refused.
    """

    kind: str
    n_cells: int = 1
    n_jobs: int = 0
    jobs: dict[str, int] = Field(default_factory=dict)
    estimated_seconds: float = 0.0
    estimated_bytes: int = 0
    n_without_estimate: int = 0
    refused: tuple[RefusedCell, ...] = ()


class NamedStudyRecord(Record):
    """A study under a name, with the rules that decide."""

    name: str
    version: int = 1
    group: str = ""
    question: str = ""
    seeds: int = 0
    varies: tuple[str, ...] = ()
    rules: tuple[dict[str, Any], ...] = ()


class Event(Record):
    """One thing that happened to a job."""

    seq: int
    type: str
    data: dict[str, Any] = Field(default_factory=dict)
    created_at: datetime | None = None


class Artifact(Record):
    """A file that a job has made."""

    id: str
    name: str
    n_bytes: int = 0
    sha256: str = ""
    resource_id: str | None = None
    job_id: str | None = None


class Format(Record):
    """What a result can be downloaded as.

    Attributes:
        format: what to ask for.
        description: what is in the file, and what is lost.
        file_name: of the file.
        why_not: why this result cannot be had in it; None where it can.
        use: Python that reads the file, which lies in the working directory.
        needs: the packages that this needs, as pip calls them.
    """

    format: str
    description: str = ""
    file_name: str
    why_not: str | None = None
    use: str = ""
    needs: tuple[str, ...] = ()


class ResultRecord(Record):
    """A distilled set, model, calibration, report or set of experts."""

    id: str
    resource: str
    job_id: str
    dataset: str | None = None
    name: str | None = None
    tags: dict[str, str] = Field(default_factory=dict)
    notes: str | None = None
    method: str | None = None
    accuracy: float | None = None
    ece: float | None = None
    created_at: datetime | None = None
    details: dict[str, Any] = Field(default_factory=dict)
    artifacts: tuple[Artifact, ...] = ()
    formats: tuple[Format, ...] = ()


class UploadProblem(Record):
    """Why the content of an upload cannot be used."""

    code: str = ""
    detail: str = ""


class DatasetRecord(Record):
    """A data set, or uploaded logits."""

    name: str
    state: str
    source: str = "upload"
    available: bool = False
    why_not: str | None = None
    facts: dict[str, Any] | None = None
    problem: UploadProblem | None = None
    n_bytes: int | None = None
    sha256: str | None = None
    job_id: str | None = None
    created_at: datetime | None = None
    tags: dict[str, str] = Field(default_factory=dict)
    notes: str | None = None
