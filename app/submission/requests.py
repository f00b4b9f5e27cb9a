"""What a submission looks like, one model a kind; shared by submission and the OpenAPI document."""

import contextlib
import re
from datetime import UTC, datetime
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Discriminator, Field, Tag

from app.submission.description_fields import Name, Notes, Tags
from ddcal_core.specs.fields import Spec
from ddcal_core.specs.kinds.calibrate import CalibrateParams
from ddcal_core.specs.kinds.calibrate_logits import CalibrateLogitsParams
from ddcal_core.specs.kinds.distill import DistillParams
from ddcal_core.specs.kinds.evaluate import EvaluateParams
from ddcal_core.specs.kinds.experts import ExpertsParams
from ddcal_core.specs.kinds.pipeline import PipelineParams
from ddcal_core.specs.kinds.study import StudyParams
from ddcal_core.specs.kinds.train import TrainParams

MAX_TIMEOUT_SECONDS = 30 * 24 * 3600
MAX_PRIORITY = 100
_RFC3339 = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}(:[0-9]{2}([.][0-9]+)?)?"
    r"(Z|[+-][0-9]{2}:[0-9]{2})?"
)
LAST_YEAR = 9999  # in which an offset can lead to a year that cannot be written


def _rfc3339(value: object) -> object:
    """A time as JSON has it, text with an offset; datetimes of our own pass."""
    if isinstance(value, datetime):
        return value
    with contextlib.suppress(ValueError):
        # Python's reader takes week dates and dates without separators as well.
        if isinstance(value, str) and _RFC3339.fullmatch(value.upper()):
            return datetime.fromisoformat(value.upper())
    raise ValueError("wanted a time such as 2026-01-31T12:00:00Z (RFC 3339)")


def _is_aware(time: datetime) -> datetime:
    if time.tzinfo is None:
        raise ValueError(f"wanted a time with its offset, such as {time.isoformat()}Z")
    try:
        year = time.astimezone(UTC).year
    except OverflowError:  # an offset that leads beyond the years 1 to 9999
        year = LAST_YEAR
    if year >= LAST_YEAR:
        raise ValueError(
            f"wanted a time from the year 1 to before {LAST_YEAR} in UTC, got {time.isoformat()}"
        )
    return time


Time = Annotated[datetime, BeforeValidator(_rfc3339), AfterValidator(_is_aware)]


TAKEN_ON = "The jobs of a pipeline or study take it on, and so do retries and results."


class Request(Spec):
    """What a submission of any kind may say beside its params."""

    timeout_seconds: int | None = Field(
        None,
        ge=1,
        le=MAX_TIMEOUT_SECONDS,
        description="Longest running time of one attempt in seconds, of each child of a pipeline; "
        "default: none.",
    )
    stall_seconds: int | None = Field(
        None,
        ge=1,
        le=MAX_TIMEOUT_SECONDS,
        description="Longest time without progress in seconds, after which an attempt counts as "
        "hanging and is ended; default: the service's own.",
    )
    start_at: Time | None = Field(None, description="Not to be started before this time.")
    expires_at: Time | None = Field(
        None,
        description="A job that has not started by this time expires, of a pipeline its first.",
    )
    priority: int = Field(
        0,
        ge=-MAX_PRIORITY,
        le=MAX_PRIORITY,
        description="Higher is run first; jobs of one priority in the order they came.",
    )
    reuse: bool = Field(
        True,
        description="Whether the results of a finished job of the same recipe (kind, params, "
        "inputs by content, software, threads, device) may stand for this one's, and a failed "
        "one's checkpoint may be gone on from; of a pipeline, for each of its jobs.",
    )
    name: Name | None = Field(
        None, description=f"What you call it, for lists and searches. {TAKEN_ON}"
    )
    tags: Tags | None = Field(None, description=f"Key -> value, to find it by. {TAKEN_ON}")
    notes: Notes | None = Field(None, description=f"Anything worth remembering. {TAKEN_ON}")


class ExpertsRequest(Request):
    """Train networks on real images and keep them after each epoch, for method mtt of distill."""

    kind: Literal["experts"]
    params: ExpertsParams = Field(description="Which experts are trained, on what.")


class DistillRequest(Request):
    """Make a distilled set."""

    kind: Literal["distill"]
    params: DistillParams = Field(description="What is distilled, and how.")


class TrainRequest(Request):
    """Train networks on a distilled set, on random real images, or on the real data."""

    kind: Literal["train"]
    params: TrainParams = Field(description="What is trained, and on what.")


OF_MODELS, OF_LOGITS = "calibrate-models", "calibrate-logits"


def _calibrated(params: object) -> str:
    """What a calibrate job is about: networks made here, or logits made elsewhere."""
    names = params if isinstance(params, dict) else getattr(params, "model_fields_set", ())
    return OF_LOGITS if "logits" in names else OF_MODELS


class CalibrateRequest(Request):
    """Fit temperatures to trained networks, or to uploaded logits; those it reports on as well."""

    kind: Literal["calibrate"]
    params: Annotated[
        Annotated[CalibrateParams, Tag(OF_MODELS)]
        | Annotated[CalibrateLogitsParams, Tag(OF_LOGITS)],
        Discriminator(_calibrated),
        Field(description="Which networks, or which logits, and how."),
    ]


class EvaluateRequest(Request):
    """Measure calibrations on the test split and write the report."""

    kind: Literal["evaluate"]
    params: EvaluateParams = Field(description="What is measured.")


class PipelineRequest(Request):
    """All four in one submission, with baselines beside the distilled set."""

    kind: Literal["pipeline"]
    params: PipelineParams = Field(description="What is done, step by step.")


class StudyRequest(Request):
    """A pipeline many times over, with what varies; its jobs rank just below single ones."""

    kind: Literal["study"]
    params: StudyParams = Field(description="Which pipeline, and what varies.")


OneRequest = (
    ExpertsRequest
    | DistillRequest
    | TrainRequest
    | CalibrateRequest
    | EvaluateRequest
    | PipelineRequest
)
JobRequest = OneRequest | StudyRequest

JOB_REQUESTS: dict[str, type[JobRequest]] = {
    "experts": ExpertsRequest,
    "distill": DistillRequest,
    "train": TrainRequest,
    "calibrate": CalibrateRequest,
    "evaluate": EvaluateRequest,
    "pipeline": PipelineRequest,
    "study": StudyRequest,
}
