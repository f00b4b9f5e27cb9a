"""Data sets, named and uploaded, and uploaded logits."""

from typing import Literal

from pydantic import Field

from app.api.schemas.bodies import Body, Time
from app.shared.inputs.datasets import DatasetState, Source, UploadState
from ddcal_core.intake.structure.image_zip_structure import ImageSplit


class UploadProblem(Body):
    """Why an upload was rejected."""

    code: str = Field(description="A stable word for programs.")
    detail: str = Field(description="What was wanted and what was found.")


class FactsBody(Body):
    """What is known of a data set's content."""

    image_shape: list[int] = Field(description="(C, H, W).", examples=[[1, 8, 8]])
    n_classes: int = Field(description="How many classes K there are.")
    class_names: list[str] = Field(description="One a class: label k is the k-th, from 0.")
    n_train: int = Field(description="Training images, before the validation cut.")
    n_validation: int | None = Field(
        description="Images of a validation split of its own; null: they are cut from training."
    )
    n_test: int = Field(description="Test images.")
    train_class_counts: list[int] = Field(description="(K,): training images of each class.")
    validation_class_counts: list[int] | None = Field(
        None, description="(K,): of a validation split of its own, images of each class."
    )
    test_class_counts: list[int] = Field(description="(K,): test images of each class.")
    mean: list[float] = Field(
        description="(C,): of each channel over the training images, of pixels in [0, 1]."
    )
    std: list[float] = Field(description="(C,): likewise the standard deviation; never 0.")
    n_test_in_train: int = Field(description="Test images that are also training images.")
    notes: list[str] = Field(description="What is odd about the data, and what to do.")
    recognised: list[str] = Field(
        [], description="How an upload was read: what was recognised, and what was assumed."
    )


class ImageFilesBody(Body):
    """What was asked of an upload of image files, and found in it."""

    n_images: int = Field(description="Images taken.")
    n_ignored: int = Field(description="Files passed over, such as .DS_Store and __MACOSX.")
    ignored: list[str] = Field([], description="Names of the first 20 of these.")
    split: ImageSplit = Field(
        description="What told test images: folders (train, test), a table of labels, or the seed."
    )
    test_fraction: float | None = Field(description="Of each class, where split by seed.")
    seed: int | None = Field(description="Of the split; null where folders made it.")
    resize: int | None = Field(description="Side in pixels; null: as the files are.")
    colour: Literal["grey", "rgb"] | None = Field(
        description="What every image was converted to; null: as the files are."
    )


class DatasetBody(Body):
    """A data set, named or uploaded."""

    name: str = Field(description="By which jobs name it.", examples=["digits"])
    source: Source = Field(description="named: it comes with the service, or with torchvision.")
    state: DatasetState = Field(
        description="Of an upload: checking until its content has been looked at, then ready or "
        "rejected. Of a named one: ready, or unavailable where its files are missing."
    )
    available: bool = Field(description="Can a job use it now?")
    why_not: str | None = Field(description="Why it is not available.")
    facts: FactsBody | None = Field(description="Known once it is ready.")
    image_files: ImageFilesBody | None = Field(description="Of a zip of image files alone.")
    problem: UploadProblem | None = Field(description="Why it was rejected or is unavailable.")
    n_bytes: int | None = Field(description="Of an upload: the size of what was sent.")
    sha256: str | None = Field(description="Of an upload: of the bytes sent, in hexadecimal.")
    job_id: str | None = Field(description="The intake job of an upload.")
    created_at: Time | None = Field(description="When it was uploaded.")
    tags: dict[str, str] = Field(description="Of an upload: key -> value, to find it by.")
    notes: str | None = Field(description="Of an upload: what its owner has noted of it.")
    links: dict[str, str] = Field(
        description="Name -> path: self, and of an upload the job that checks it and, once it is "
        "ready, samples: a picture of some training images of each class."
    )


class DatasetList(Body):
    """All data sets: the named ones, then the uploads."""

    items: list[DatasetBody] = Field(description="All of them.")


class LogitsFactsBody(Body):
    """What is known of uploaded logits."""

    n_classes: int = Field(description="How many classes K there are.")
    class_names: list[str] = Field(
        description="One a class: label k, and column k of the logits, are the k-th, from 0."
    )
    n_fit: int = Field(description="Rows to fit on.")
    n_test: int = Field(description="Rows to measure on; 0: the rows fitted on are measured.")
    fit_class_counts: list[int] = Field(description="(K,): rows of each class to fit on.")
    test_class_counts: list[int] = Field(
        description="(K,): rows of each class to measure on; empty where none were sent."
    )
    dtype: Literal["float32", "float64"] = Field(
        description="Of the logits as they are kept; float16 becomes float32."
    )
    values: Literal["logits", "probabilities"] = Field(
        description="What was sent; probabilities are kept as their logarithms."
    )
    n_test_in_fit: int = Field(description="Rows to measure on that were also sent to fit on.")
    notes: list[str] = Field(description="What is odd about them, and what to do.")


class LogitsBody(Body):
    """Uploaded logits with their labels."""

    name: str = Field(description="By which jobs name them.", examples=["my-network"])
    state: UploadState = Field(description="checking until their content has been looked at.")
    available: bool = Field(description="Can a job use them now?")
    why_not: str | None = Field(description="Why they are not available.")
    facts: LogitsFactsBody | None = Field(description="Known once they are ready.")
    problem: UploadProblem | None = Field(description="Why they were rejected.")
    n_bytes: int = Field(description="The size of what was sent.")
    sha256: str = Field(description="Of the bytes sent, 64 hexadecimal digits.")
    job_id: str = Field(description="The intake job that checks them.")
    created_at: Time = Field(description="When they were uploaded.")
    tags: dict[str, str] = Field(description="Key -> value, to find them by.")
    notes: str | None = Field(description="What their owner has noted of them.")
    links: dict[str, str] = Field(description="Name -> path: self, and the job that checks them.")


class LogitsList(Body):
    """All uploaded logits."""

    items: list[LogitsBody] = Field(description="All of them.")
