"""What a job is given: its inputs as its supervisor resolved them, and how it answers."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Protocol, TypeVar

import torch
from pydantic import BaseModel, BeforeValidator, ConfigDict

from ddcal_core.data.class_choice import facts_of_classes
from ddcal_core.formats.calibrations import CalibrationValues
from ddcal_core.formats.manifests import ModelConfig, SetManifest
from ddcal_core.formats.records import VersionedRecord, read_record
from ddcal_core.progress import ProgressCallback
from ddcal_core.specs.facts import DatasetFacts
from ddcal_core.specs.logits import LogitsFacts

ModelT = TypeVar("ModelT", bound=BaseModel)


class NoteCallback(Protocol):
    """Is told something worth an event of the job: a stable word for programs, and a sentence."""

    def __call__(self, code: str, message: str, *, step: int | None = None) -> None:
        """Take a note; `step` where it is about one, such as the step gone on from."""


def ignore_note(code: str, message: str, *, step: int | None = None) -> None:
    """Take a note and do nothing."""


class Input(BaseModel):
    """Something the supervisor resolved for a job."""

    # Fields unknown here are let through: they come from our own supervisor, not from a user.
    model_config = ConfigDict(frozen=True)


def _read_as(record: type[VersionedRecord]) -> BeforeValidator:
    """Read a stored record whatever its version; see `read_record`."""
    return BeforeValidator(
        lambda held: read_record(record, held) if isinstance(held, Mapping) else held
    )


class DatasetInput(Input):
    """A data set and where its images lie.

    Attributes:
        name: as listed.
        facts: shape, classes, statistics.
        source: "named" through a reader, or "upload" as tensors on disk.
        named_folder: where torchvision's data sets lie.
        allow_downloads: whether a missing named data set may be fetched.
        train_path: tensors of an upload's training images.
        test_path: of its test images; given to `evaluate` alone.
        classes: those taken, as labels of the files; facts and labels are of these alone, label k
            of the k-th. None takes all.
    """

    name: str
    facts: DatasetFacts
    source: Literal["named", "upload"]
    named_folder: Path | None = None
    allow_downloads: bool = False
    train_path: Path | None = None
    test_path: Path | None = None
    classes: tuple[int, ...] | None = None

    def of_classes(self, classes: tuple[int, ...] | None) -> "DatasetInput":
        """Give some classes of a whole data set, as if there were no others; None gives all."""
        if classes is None:
            return self
        facts = facts_of_classes(self.facts, classes)
        return self.model_copy(update={"facts": facts, "classes": classes})


class LogitsInput(Input):
    """Logits made elsewhere and where they lie.

    Attributes:
        name: as listed.
        sha256: of the file that was uploaded.
        facts: classes, counts, dtype.
        fit_rows_path: tensors of the rows to fit on: logits (N, K), labels int64 (N,).
        test_rows_path: of the rows to measure on, where they were sent.
    """

    name: str
    sha256: str
    facts: LogitsFacts
    fit_rows_path: Path
    test_rows_path: Path | None


class SetInput(Input):
    """A distilled set on disk, with its manifest."""

    id: str
    path: Path
    manifest: Annotated[SetManifest, _read_as(SetManifest)]


class ExpertsInput(Input):
    """Experts on disk, for MTT."""

    id: str
    path: Path


class ModelInput(Input):
    """A model on disk, with its config, and what its input space is made of if it is whitened."""

    id: str
    path: Path
    config: Annotated[ModelConfig, _read_as(ModelConfig)]
    input_space_path: Path | None = None


class CalibrationInput(Input):
    """A calibration and what it found; a scaling of more than one number lies in a file."""

    id: str
    model_id: str
    values: Annotated[CalibrationValues, _read_as(CalibrationValues)]
    scaling_path: Path | None = None


class NetworksInput(Input):
    """Networks and all they were made from.

    Attributes:
        dataset: of all networks, with all of its classes.
        models: the networks.
        distilled_sets: by id, those that networks were trained on.
    """

    dataset: DatasetInput
    models: tuple[ModelInput, ...]
    distilled_sets: dict[str, SetInput]


class CalibratedNetworksInput(NetworksInput):
    """Networks with their calibrations, those of one network in the order of the report."""

    calibrations: tuple[CalibrationInput, ...]


@dataclass(frozen=True)
class Task:
    """One job as a kind sees it.

    Attributes:
        params: as submitted, defaults filled in.
        inputs: as resolved by the supervisor.
        folder: an existing folder for the job's files.
        device: where to compute.
        on_progress: to be told often; raises StoppedError when the job has to stop.
        checkpoint: a file in an existing folder of the job's own, the same in each attempt; there
            only if an earlier attempt has written it. None: the job keeps no checkpoint.
        recipe: the digest of all that decides the job's results; a checkpoint of another recipe
            is not the job's.
        checkpoint_seconds: least time from one write of the checkpoint to the next.
        snapshots: an existing folder for pictures of what is learned, named by step (STEP.png), for
            people to look at meanwhile; None: none are wanted.
        on_note: to be told what users should know of the run, such as where it goes on.
        job_id: of the job, to be named in what people read.
    """

    params: Mapping[str, Any]
    inputs: Mapping[str, Any]
    folder: Path
    device: torch.device
    on_progress: ProgressCallback
    checkpoint: Path | None = None
    recipe: str = ""
    checkpoint_seconds: float = 5.0
    snapshots: Path | None = None
    on_note: NoteCallback = ignore_note
    job_id: str = ""


def parse_json(model: type[ModelT], value: object) -> ModelT:
    """Validate a JSON value strictly, with JSON's own types (a list is a tuple there).

    Raises:
        ValueError: it does not fit the model.
    """
    return model.model_validate_json(json.dumps(value))
