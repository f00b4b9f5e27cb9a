"""A job's inputs -> tensors and networks, checked.

Splits are honest: validation is cut from the training images by the split's seed, and the test
images have a reader of their own that only `evaluate` calls.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Protocol, TypeVar

import torch
from pydantic import BaseModel, BeforeValidator, ConfigDict
from torch import Tensor

from ddcal_core.data.class_choice import facts_of_classes
from ddcal_core.data.input_space import InputSpace, enter
from ddcal_core.data.labelled import (
    LabelledImages,
    load_named,
    long_tail,
    pick_classes,
    random_subset,
    split_validation,
)
from ddcal_core.errors import InvalidDataError
from ddcal_core.formats.calibrations import CalibrationValues
from ddcal_core.formats.manifests import ModelConfig, SetManifest, Split
from ddcal_core.formats.models import read_input_space, read_model, read_tensors
from ddcal_core.formats.records import VersionedRecord, read_record
from ddcal_core.formats.sets import read_distilled_set
from ddcal_core.networks import Network
from ddcal_core.progress import ProgressCallback
from ddcal_core.seeding import seeded_generator
from ddcal_core.specs.facts import DatasetFacts
from ddcal_core.specs.logits import LogitsFacts

ModelT = TypeVar("ModelT", bound=BaseModel)
"""Told something worth an event of the job: a stable word for programs, and a sentence."""


class NoteCallback(Protocol):
    """Is told what users should know of a run."""

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
        on_note: to be told what users should know of the run, such as where it goes on.
    """

    params: Mapping[str, Any]
    inputs: Mapping[str, Any]
    folder: Path
    device: torch.device
    on_progress: ProgressCallback
    checkpoint: Path | None = None
    recipe: str = ""
    checkpoint_seconds: float = 5.0
    on_note: NoteCallback = ignore_note


@dataclass(frozen=True, eq=False)
class Examples:
    """Images ready for a network.

    Attributes:
        images: float32 (N, C, H, W), network-input space, on the task's device.
        labels: int64 (N,), likewise.
        soft_labels: float32 (N, K), likewise, to train on in their place; None where there are
            none.
    """

    images: Tensor
    labels: Tensor
    soft_labels: Tensor | None = None


def parse_json(model: type[ModelT], value: object) -> ModelT:
    """Validate a JSON value strictly, with JSON's own types (a list is a tuple there).

    Raises:
        ValueError: it does not fit the model.
    """
    return model.model_validate_json(json.dumps(value))


def load_train_images(dataset: DatasetInput) -> LabelledImages:
    """Read all training images of its classes, uncut: uint8 (N, C, H, W), int64 (N,).

    Raises:
        InvalidDataError: they are not there, or not what the facts say.
    """
    if dataset.source == "named":
        named = load_named(dataset.name, "train", _named_folder(dataset), dataset.allow_downloads)
        return _of_its_classes(named, dataset)
    return _read_upload(dataset.train_path, dataset, dataset.facts.train_class_counts)


def load_test_images(dataset: DatasetInput) -> LabelledImages:
    """Read the test images of its classes: uint8 (N, C, H, W), int64 (N,). For `evaluate` alone.

    Raises:
        InvalidDataError: they are not there, or not what the facts say.
    """
    if dataset.source == "named":
        named = load_named(dataset.name, "test", _named_folder(dataset), dataset.allow_downloads)
        return _of_its_classes(named, dataset)
    return _read_upload(dataset.test_path, dataset, dataset.facts.test_class_counts)


def _named_folder(dataset: DatasetInput) -> Path:
    return dataset.named_folder or Path("named")


def _read_upload(
    path: Path | None, dataset: DatasetInput, class_counts: tuple[int, ...]
) -> LabelledImages:
    if path is None:
        raise InvalidDataError(f"wanted the images of {dataset.name}; got no path to them")
    tensors = read_tensors(path)
    data = _of_its_classes(LabelledImages(tensors["images"], tensors["labels"]), dataset)
    if data.images.shape != (sum(class_counts), *dataset.facts.image_shape):
        raise InvalidDataError(
            f"wanted {sum(class_counts)} images {dataset.facts.image_shape} in {dataset.name}; "
            f"got {tuple(data.images.shape)}"
        )
    return data


def _of_its_classes(data: LabelledImages, dataset: DatasetInput) -> LabelledImages:
    return data if dataset.classes is None else pick_classes(data, dataset.classes)


def as_examples(
    data: LabelledImages, index: Tensor | None, space: InputSpace, device: torch.device
) -> Examples:
    """Take images into network-input space, all or those at an index.

    Args:
        data: uint8 images and labels.
        index: int64 (M,) into them, or None for all.
        space: which space.
        device: where the result lives.
    """
    images = data.images if index is None else data.images[index]
    labels = data.labels if index is None else data.labels[index]
    return Examples(enter(space, images).to(device), labels.to(device))


def cut(data: LabelledImages, split: Split, n_classes: int) -> tuple[Tensor, Tensor]:
    """Give the indices int64 of the images to train on and of the validation images.

    Validation images are cut first, from all there are; then the rest is thinned out to the
    split's long tail, so that validation is the same with every imbalance.

    Args:
        data: all training images of the split's classes.
        split: how to cut.
        n_classes: K, of the split's classes.
    """
    training, validation = split_validation(data.labels, split.n_validation, n_classes, split.seed)
    if split.imbalance is not None:
        training = long_tail(
            data.labels, training, n_classes, factor=split.imbalance, seed=split.seed
        )
    return training, validation


@dataclass(frozen=True, kw_only=True)
class RandomDraw:
    """Which random images one network is trained on.

    Attributes:
        images_per_class: how many.
        seed: of the job.
        seed_index: the network's place among those of its job.
    """

    images_per_class: int
    seed: int
    seed_index: int


def random_index(
    data: LabelledImages, train_index: Tensor, n_classes: int, draw: RandomDraw
) -> Tensor:
    """Draw the random images of one network, the same ones each time it is asked.

    Args:
        data: all training images.
        train_index: those left by the cut.
        n_classes: K.
        draw: which images.

    Returns:
        int64 (K * images_per_class,), into `data`.
    """
    generator = seeded_generator(draw.seed, "random", draw.seed_index)
    chosen = random_subset(data.labels[train_index], draw.images_per_class, n_classes, generator)
    return train_index[chosen]


def load_distilled_set(distilled: SetInput, device: torch.device) -> Examples:
    """Read a distilled set, already in network-input space.

    Raises:
        InvalidDataError: the file does not hold the set its manifest tells of.
    """
    stored = read_distilled_set(distilled.path, distilled.manifest.facts)
    soft_labels = None if stored.soft_labels is None else stored.soft_labels.to(device)
    return Examples(stored.images.to(device), stored.labels.to(device), soft_labels)


def load_model(model: ModelInput, device: torch.device) -> Network:
    """Rebuild a network, in evaluation mode.

    Raises:
        InvalidDataError: the file does not hold the network its config tells of.
    """
    return read_model(model.path, model.config).to(device)


def space_of_set(distilled: SetInput) -> InputSpace:
    """Read the input space that a distilled set was made in; on the CPU.

    Raises:
        InvalidDataError: the set's file does not hold what its manifest tells of.
    """
    return read_input_space(distilled.path, distilled.manifest)


def space_of_model(model: ModelInput) -> InputSpace:
    """Read what a network reads of pixels; on the CPU.

    Raises:
        InvalidDataError: there is no file of the whitened space its config tells of.
    """
    return read_input_space(model.input_space_path or model.path, model.config)
