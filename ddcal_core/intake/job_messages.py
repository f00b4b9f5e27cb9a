"""What a job's process and its supervisor say to each other, one JSON line a message.

The supervisor sends one `JobLine`. The process says `ready` before it and, after it, any number of
`progress` and `note`, then one last word: `outputs`, `rejected`, `failed` or `stopped`.
"""

import json
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from ddcal_core.specs.results import Resource


class Line(BaseModel):
    """One line; fields unknown here are let through, as the other end may be of a later version."""

    # A number that is not finite has to fail in `encoded`, not to arrive as null.
    model_config = ConfigDict(frozen=True, ser_json_inf_nan="constants")

    def encoded(self) -> bytes:
        """Give the line as it is written, with its end.

        Raises:
            ValueError: a number in it is not finite: JSON has no word for it.
        """
        fields = self.model_dump(mode="json")
        return json.dumps(fields, allow_nan=False, separators=(",", ":")).encode() + b"\n"


class JobLine(Line):
    """What a process is told of its job.

    Attributes:
        kind: of the job.
        computation: the module of worker.trainer.kinds that computes it; none checks an upload.
        job_id: for the log.
        request_id: of the request that submitted it, for the log.
        params: as submitted, defaults filled in.
        inputs: what its references stand for, and where the files lie.
        work_folder: an existing folder for the job's files.
        log_file: which all that it prints is appended to.
        threads: of the CPU to compute with.
        recipe: the digest of all that decides the results; empty where there is none.
        checkpoint: a file in an existing folder, there if an earlier attempt has written it; None:
            the job keeps no checkpoint.
        checkpoint_seconds: least time from one write of the checkpoint to the next.
        snapshots: an existing folder of this run for pictures by step; None: the job makes none.
        is_confined: whether the process confines itself to what it names here.
    """

    kind: str
    computation: str = ""
    job_id: str
    request_id: str | None = None
    params: dict[str, Any]
    inputs: dict[str, Any]
    work_folder: Path
    log_file: Path
    threads: int
    recipe: str = ""
    checkpoint: Path | None = None
    checkpoint_seconds: float = 5.0
    snapshots: Path | None = None
    is_confined: bool = True


def _is_none(value: object) -> bool:
    return value is None


class Ready(Line):
    """Everything is loaded, the job may come.

    Attributes:
        device: type of the device it computes on; None of one that computes on none.
    """

    type: Literal["ready"] = "ready"
    device: str | None = Field(None, exclude_if=_is_none)


class ProgressReport(Line):
    """Where the job is; see `ddcal_core.progress.Progress`."""

    type: Literal["progress"] = "progress"
    phase: str
    step: int
    steps: int
    values: dict[str, float]
    seconds_left: float | None = None


class Note(Line):
    """Something that users should know of the run.

    Attributes:
        code: a stable word for programs.
        message: a sentence.
        step: which the note is about, such as the step gone on from.
    """

    type: Literal["note"] = "note"
    code: str
    message: str
    step: int | None = None


class OutputFile(Line):
    """A file of a result, in the job's work folder."""

    name: str
    path: Path
    media_type: str


class JobOutput(Line):
    """One result of a job.

    Attributes:
        resource: "dataset" of an upload, "export" of a result in another format, else what the
            kind makes.
        key: unlike any other output's of the job.
        name: what to call it; None for the name of its job.
        values: what is stored of it.
        files: with its content.
    """

    resource: Resource | Literal["dataset", "export"]
    key: str = ""
    name: str | None = Field(None, exclude_if=_is_none)
    values: dict[str, Any]
    files: tuple[OutputFile, ...]


class Outputs(Line):
    """The job has come to its end."""

    type: Literal["outputs"] = "outputs"
    outputs: tuple[JobOutput, ...]


class Problem(Line):
    """Why an upload cannot be used."""

    code: str
    detail: str


class Rejected(Line):
    """An upload has been looked at and cannot be used."""

    type: Literal["rejected"] = "rejected"
    problem: Problem


class JobError(Line):
    """Why a job has failed, as its user sees it.

    Attributes:
        type: one of the service's error types.
        message: a sentence.
    """

    type: str
    message: str


class Failed(Line):
    """The job has failed."""

    type: Literal["failed"] = "failed"
    error: JobError


class Stopped(Line):
    """The job has stopped, as it was asked to."""

    type: Literal["stopped"] = "stopped"


Verdict = Outputs | Rejected | Failed | Stopped
"""A last word."""
Message = Ready | ProgressReport | Note | Verdict
_MESSAGES: TypeAdapter[Message] = TypeAdapter(Annotated[Message, Field(discriminator="type")])
_TYPES = {one.model_fields["type"].default for one in get_args(Message)}


def read_message(line: bytes) -> Message | None:
    """Read what a process has said; None for a message of a type not known here.

    Raises:
        ValueError: it is no message.
    """
    held = json.loads(line)
    if isinstance(held, dict) and isinstance(held.get("type"), str) and held["type"] not in _TYPES:
        return None
    return _MESSAGES.validate_python(held)
