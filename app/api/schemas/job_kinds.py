"""A job as its kind has it: what it was asked, field by field.

For the document alone: answers are written from `jobs.JobBody`, whatever the kind.
"""

from typing import Annotated, Literal

from pydantic import Field

from app.api.schemas.bodies import Body, ResourceName
from app.api.schemas.jobs import WholeJob
from app.api.schemas.uploads import ImageFilesBody
from ddcal_core.specs.exports import ExportFormat
from ddcal_core.specs.foreign_networks import NetworkFileFormat, NetworkOptions
from ddcal_core.specs.kinds.calibrate import CalibrateParams
from ddcal_core.specs.kinds.calibrate_logits import CalibrateLogitsParams
from ddcal_core.specs.kinds.compare import CompareParams
from ddcal_core.specs.kinds.distill import DistillParams
from ddcal_core.specs.kinds.evaluate import EvaluateParams
from ddcal_core.specs.kinds.experts import ExpertsParams
from ddcal_core.specs.kinds.pipeline import PipelineParams
from ddcal_core.specs.kinds.study import StudyParams
from ddcal_core.specs.kinds.train import TrainParams
from ddcal_core.specs.logits import LogitsOptions
from ddcal_core.specs.uploads import ImageOptions, SetFileFormat, SetOptions, UploadContent

PARAMS = "As submitted, defaults filled in."


class IntakeParams(Body):
    """What an upload asks for."""

    upload: str = Field(description="Name of the file that it was kept in while it was checked.")
    content: UploadContent = Field(description="What was uploaded.")
    options: ImageOptions | LogitsOptions | SetOptions | NetworkOptions | None = Field(
        None, description="What was said of the content."
    )
    image_files: ImageFilesBody | None = Field(
        None, description="Of a zip of image files: what was found in it."
    )
    file_format: SetFileFormat | NetworkFileFormat | None = Field(
        None, description="Of distilled sets and networks: what kind of file it is."
    )
    n_sets: int | None = Field(None, description="Of distilled sets: how many are taken in.")
    sha256: str | None = Field(None, description="Of a file of distilled sets, or of a network.")
    n_bytes: int | None = Field(None, description="Likewise its size.")


class IntakeJob(WholeJob):
    """The check of an upload; uploads submit it."""

    kind: Literal["intake"]
    params: IntakeParams = Field(description="What the upload asked for.")


class ExportParams(Body):
    """What a download asks for."""

    resource: ResourceName = Field(description="What the result is.")
    result: str = Field(description="The id of the result.")
    format: ExportFormat = Field(description="What it is written as.")
    reports: list[str] = Field(
        description="Ids of the reports that its card tells of; empty of a format without a card."
    )
    declared: dict[str, str] = Field(
        description="`licence` and `source`, as tags of the data set say; likewise."
    )


class ExportJob(WholeJob):
    """A result written in another format; downloads submit it."""

    kind: Literal["export"]
    params: ExportParams = Field(description="What the download asked for.")


class ExpertsJob(WholeJob):
    """Networks trained on real images, for method mtt."""

    kind: Literal["experts"]
    params: ExpertsParams = Field(description=PARAMS)


class DistillJob(WholeJob):
    """Real images made into a distilled set."""

    kind: Literal["distill"]
    params: DistillParams = Field(description=PARAMS)


class TrainJob(WholeJob):
    """Networks trained on a distilled set, on a few real images, or on the real data."""

    kind: Literal["train"]
    params: TrainParams = Field(description=PARAMS)


class CalibrateJob(WholeJob):
    """Temperatures fitted to trained networks, or to uploaded logits."""

    kind: Literal["calibrate"]
    params: CalibrateParams | CalibrateLogitsParams = Field(description=PARAMS)


class EvaluateJob(WholeJob):
    """Calibrations measured on the test split."""

    kind: Literal["evaluate"]
    params: EvaluateParams = Field(description=PARAMS)


class CompareJob(WholeJob):
    """Reports put side by side; `POST /v1/comparisons` submits it."""

    kind: Literal["compare"]
    params: CompareParams = Field(description="What is compared.")


class PipelineJob(WholeJob):
    """All of it in one submission; its children do the work."""

    kind: Literal["pipeline"]
    params: PipelineParams = Field(description=PARAMS)


class StudyJob(WholeJob):
    """A pipeline many times over, with what varies; its children do the work."""

    kind: Literal["study"]
    params: StudyParams = Field(description=PARAMS)


AnyJob = Annotated[
    ExpertsJob
    | DistillJob
    | TrainJob
    | CalibrateJob
    | EvaluateJob
    | CompareJob
    | PipelineJob
    | StudyJob
    | IntakeJob
    | ExportJob,
    Field(discriminator="kind", description="A job; `kind` tells what its params are."),
]
"""A job; `kind` tells which."""
