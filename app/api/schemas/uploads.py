"""Data sets, named and uploaded, and uploaded logits."""

from pydantic import Field

from app.api.schemas.bodies import Body, Time


class UploadProblem(Body):
    """Why an upload was rejected."""

    code: str
    detail: str


class FactsBody(Body):
    """What is known of a data set's content."""

    image_shape: list[int] = Field(description="(C, H, W).", examples=[[1, 8, 8]])
    n_classes: int
    class_names: list[str]
    n_train: int
    n_test: int
    train_class_counts: list[int]
    test_class_counts: list[int]
    mean: list[float] = Field(description="Of each channel, of pixels in [0, 1].")
    std: list[float]
    n_test_in_train: int = Field(description="Test images that are also training images.")
    notes: list[str] = Field(description="What is odd about the data, and what to do.")


class ImageFilesBody(Body):
    """What was asked of an upload of image files, and found in it."""

    n_images: int
    n_ignored: int = Field(description="Files passed over, such as .DS_Store and __MACOSX.")
    ignored: list[str] = Field([], description="Names of the first 20 of these.")
    split: str = Field(description="By folders (train, test) or by seed.", examples=["folders"])
    test_fraction: float | None = Field(description="Of each class, where split by seed.")
    seed: int | None
    resize: int | None = Field(description="Side in pixels; null: as the files are.")
    colour: str | None = Field(description="grey or rgb; null: as the files are.")


class DatasetBody(Body):
    """A data set, named or uploaded."""

    name: str
    source: str = Field(description="named or upload.")
    state: str = Field(description="ready, checking, rejected, or missing (a named set's files).")
    available: bool = Field(description="Can a job use it now?")
    why_not: str | None = Field(description="Why it is not available.")
    facts: FactsBody | None
    image_files: ImageFilesBody | None = Field(description="Of a zip of image files alone.")
    problem: UploadProblem | None
    n_bytes: int | None
    sha256: str | None
    job_id: str | None = Field(description="The intake job of an upload.")
    created_at: Time | None
    tags: dict[str, str] = Field(description="Of an upload: key -> value, to find it by.")
    notes: str | None = Field(description="Of an upload: what its owner has noted of it.")
    links: dict[str, str]


class DatasetList(Body):
    """All data sets: the named ones, then the uploads."""

    items: list[DatasetBody]


class LogitsFactsBody(Body):
    """What is known of uploaded logits."""

    n_classes: int
    class_names: list[str]
    n_fit: int = Field(description="Rows to fit on.")
    n_test: int = Field(description="Rows to measure on; 0: the rows fitted on are measured.")
    fit_class_counts: list[int]
    test_class_counts: list[int]
    dtype: str = Field(examples=["float32"])
    values: str = Field(description="What was sent: logits or probabilities.")
    n_test_in_fit: int = Field(description="Rows to measure on that were also sent to fit on.")
    notes: list[str] = Field(description="What is odd about them, and what to do.")


class LogitsBody(Body):
    """Uploaded logits with their labels."""

    name: str
    state: str = Field(description="checking, ready or rejected.")
    available: bool = Field(description="Can a job use them now?")
    why_not: str | None = Field(description="Why they are not available.")
    facts: LogitsFactsBody | None
    problem: UploadProblem | None
    n_bytes: int
    sha256: str
    job_id: str = Field(description="The intake job that checks them.")
    created_at: Time
    tags: dict[str, str] = Field(description="Key -> value, to find them by.")
    notes: str | None = Field(description="What their owner has noted of them.")
    links: dict[str, str]


class LogitsList(Body):
    """All uploaded logits."""

    items: list[LogitsBody]
