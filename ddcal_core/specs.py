"""What each computation can be asked: names, units, ranges, defaults, sources. No torch here."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, model_validator

MAX_SEED = 2**31 - 1
MAX_VALIDATION_BY_DEFAULT = 2_000
JOB_REFERENCE = r"^job_[0-9a-z]{26}$"
SET_REFERENCE = r"^(set|job)_[0-9a-z]{26}$"
MODEL_REFERENCE = r"^(mdl|job)_[0-9a-z]{26}$"
CALIBRATION_REFERENCE = r"^(cal|job)_[0-9a-z]{26}$"


class Spec(BaseModel):
    """A frozen request: unknown fields, wrong types, NaN and infinities are refused."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


DatasetName = Annotated[
    str,
    Field(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$",
        description="A data set's name as listed by GET /v1/datasets.",
        examples=["digits"],
    ),
]
Seed = Annotated[int, Field(ge=0, le=MAX_SEED, description="Seeds everything that is drawn.")]
NValidation = Annotated[
    int | None,
    Field(
        ge=1,
        le=1_000_000,
        description=(
            "Real images cut from the training split by class and seed, never touched by "
            f"distillation or training. Default: one fifth, at most {MAX_VALIDATION_BY_DEFAULT}."
        ),
    ),
]


class MaskSpec(Spec):
    """A random binary mask: each pixel, shared over channels, is masked with chance `ratio`.

    By default it is drawn for each image on its own and sets to 0 in network-input space, the
    mean colour. The one definition serves MDT and MTS (ICCV 2023, arXiv 2307.12463; the paper
    leaves unit, fill and redraw open, hence the options).
    """

    ratio: float = Field(0.0, ge=0, lt=1, description="Share of pixels masked, in [0, 1).")
    unit: Literal["pixel", "patch"] = Field(
        "pixel", description="What is masked as one: a pixel, or a square patch of pixels."
    )
    patch_size: int | None = Field(
        None,
        ge=1,
        le=1_024,
        description="Side of a patch in pixels, with unit patch alone; patches lie side by side "
        "from the top left corner, the last ones cut off by the image's edge.",
    )
    channels: Literal["shared", "independent"] = Field(
        "shared", description="One mask for all channels of an image, or one for each."
    )
    scope: Literal["per_sample", "shared"] = Field(
        "per_sample", description="A mask for each image, or one for all images of a draw."
    )
    fill: Literal["zero", "noise"] = Field(
        "zero",
        description="What a masked pixel becomes, in network-input space: 0 (the mean colour), or "
        "a number drawn from N(0, 1), a channel each.",
    )

    @model_validator(mode="after")
    def _patch_size_fits_unit(self) -> "MaskSpec":
        if (self.unit == "patch") != (self.patch_size is not None):
            raise ValueError(
                f"patch_size goes with unit patch and nothing else: wanted both or neither, got "
                f"unit {self.unit} and patch_size {self.patch_size}"
            )
        return self


class DistillSpec(Spec):
    """Distribution matching with masked distillation training.

    Source: Zhao and Bilen, WACV 2023 (DM); the mask: arXiv 2307.12463 (MDT). The defaults are
    sized for two CPU cores; the published setting is width 128, 20,000 iterations.
    """

    method: Literal["dm"] = "dm"
    images_per_class: int = Field(10, ge=1, le=1_000)
    init: Literal["real", "noise"] = Field(
        "real", description="Start from random real training images or from N(0, 1)."
    )
    mask: MaskSpec = Field(MaskSpec(), description="MDT: mask on the synthetic images.")
    iterations: int = Field(200, ge=1, le=1_000_000)
    batch_real: int = Field(256, ge=1, le=10_000, description="Real images a class and iteration.")
    lr: float = Field(1.0, gt=0, le=1e6, description="Step size on the images (SGD).")
    momentum: float = Field(0.5, ge=0, lt=1)
    width: int = Field(32, ge=1, le=512, description="Channels of the ConvNet matched on.")
    depth: int = Field(3, ge=1, le=6, description="Blocks of the ConvNet; each halves the image.")


class CrossEntropy(Spec):
    """Plain cross-entropy."""

    name: Literal["cross_entropy"]


class LabelSmoothing(Spec):
    """Cross-entropy with a share of each label spread over all K classes, its own among them."""

    name: Literal["label_smoothing"]
    smoothing: float = Field(0.05, gt=0, lt=1, description="Share spread: e / K a class.")


class Focal(Spec):
    """Focal loss: cross-entropy times (1 - p)^gamma, p the probability of the label."""

    name: Literal["focal"]
    gamma: float = Field(3.0, ge=1, le=10, description="FL-3 by default.")


class FocalSchedule(Spec):
    """Focal loss with gamma 5 where the label's probability is below 0.2, else 3 (FLSD-53)."""

    name: Literal["flsd_53"]


class Mixup(Spec):
    """Cross-entropy on pairs of images and labels blended, share from Beta(alpha, alpha)."""

    name: Literal["mixup"]
    alpha: float = Field(
        0.2, gt=0, le=100, description="0.2 as in calibration papers; the original code has 1.0."
    )


TrainLoss = Annotated[
    CrossEntropy | LabelSmoothing | Focal | FocalSchedule | Mixup, Field(discriminator="name")
]


class TrainSpec(Spec):
    """Train ConvNets: SGD, learning rate times 0.1 at half of the epochs (DC's protocol)."""

    network: Literal["convnet"] = "convnet"
    width: int = Field(32, ge=1, le=512)
    depth: int = Field(3, ge=1, le=6, description="Blocks; each halves the image.")
    n_seeds: int = Field(3, ge=1, le=20, description="Networks, each from its own seed.")
    epochs: int = Field(300, ge=1, le=100_000)
    batch_size: int = Field(256, ge=1, le=100_000)
    lr: float = Field(0.01, gt=0, le=100)
    momentum: float = Field(0.9, ge=0, lt=1)
    weight_decay: float = Field(5e-4, ge=0, le=1)
    loss: TrainLoss = CrossEntropy(name="cross_entropy")


FitOn = Annotated[
    Literal["validation", "distilled"],
    Field(
        description=(
            "Images the temperature is fitted on: real validation images, or the small set the "
            "network was trained on (no further real label needed)."
        )
    ),
]


class NoCalibration(Spec):
    """The network as trained: temperature 1."""

    method: Literal["none"]


class TemperatureScaling(Spec):
    """The temperature of least NLL, solved exactly (Guo et al., ICML 2017)."""

    method: Literal["ts"]
    fit_on: FitOn = "validation"


class AutoMask(Spec):
    """The ratio left open; docs/mask-ratio.md says what is done instead, and how well it does."""

    ratio: Literal["auto"]  # on distilled: T from the small set alone; on validation: by real NLL


def _ratio_tag(mask: object) -> str:
    is_auto = isinstance(mask, AutoMask) or (isinstance(mask, dict) and mask.get("ratio") == "auto")
    return "ratio auto" if is_auto else "ratio given"


class MaskedTemperatureScaling(Spec):
    """The temperature of least NLL on randomly masked images (MTS, arXiv 2307.12463)."""

    method: Literal["mts"]
    fit_on: FitOn = "distilled"
    mask: Annotated[
        Annotated[MaskSpec, Tag("ratio given")] | Annotated[AutoMask, Tag("ratio auto")],
        Discriminator(_ratio_tag),
    ] = MaskSpec(ratio=0.7)
    draws_per_image: int | None = Field(
        None,
        ge=1,
        le=10_000,
        description="Masks drawn for each image; default: as few as make 1,000 masked images.",
    )


CalibrationSpec = Annotated[
    NoCalibration | TemperatureScaling | MaskedTemperatureScaling, Field(discriminator="method")
]
CalibrationSpecs = Annotated[list[CalibrationSpec], Field(min_length=1, max_length=32)]


class EvaluateSpec(Spec):
    """What the report measures on the test split."""

    n_bins: int = Field(15, ge=1, le=100, description="Equal-width bins of the ECE.")
    mts_ratios: list[Annotated[float, Field(ge=0, lt=1)]] = Field(
        [0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9],
        max_length=50,
        description="Mask ratios of the MTS curve; empty for none.",
    )


class DistilledTrainingSet(Spec):
    """Train on a distilled set (a DDNN)."""

    source: Literal["distilled"]
    distilled_set: str = Field(
        pattern=SET_REFERENCE, description="A distilled set, or the job that makes it."
    )


class RandomTrainingSet(Spec):
    """Train on random real images, a fresh draw for each network (the coreset row)."""

    source: Literal["random"]
    images_per_class: int = Field(10, ge=1, le=100_000)


class FullTrainingSet(Spec):
    """Train on the real training images left after the validation cut (an FDNN)."""

    source: Literal["full"]
    n_images: int | None = Field(
        None, ge=1, le=10_000_000, description="A random subset of that size; default: all."
    )


TrainingSet = Annotated[
    DistilledTrainingSet | RandomTrainingSet | FullTrainingSet, Field(discriminator="source")
]


class DistillParams(Spec):
    """The params of a `distill` job."""

    dataset: DatasetName
    seed: Seed = 0
    n_validation: NValidation = None
    distill: DistillSpec = DistillSpec()


class TrainParams(Spec):
    """The params of a `train` job.

    A distilled set brings its data set and split along; random and full sets name theirs.
    """

    training_set: TrainingSet
    dataset: DatasetName | None = None
    seed: Seed = 0
    n_validation: NValidation = None
    train: TrainSpec = TrainSpec()

    @model_validator(mode="after")
    def _dataset_fits_source(self) -> "TrainParams":
        is_distilled = isinstance(self.training_set, DistilledTrainingSet)
        if is_distilled and (self.dataset is not None or self.n_validation is not None):
            raise ValueError(
                "a distilled set brings its data set and validation split along: "
                "leave out dataset and n_validation"
            )
        if not is_distilled and self.dataset is None:
            raise ValueError("dataset is needed to train on random or full real images")
        return self


class CalibrateParams(Spec):
    """The params of a `calibrate` job."""

    models: list[Annotated[str, Field(pattern=MODEL_REFERENCE)]] = Field(
        min_length=1,
        max_length=100,
        description="Models, or train jobs (all of their models).",
    )
    seed: Seed = 0
    calibrate: CalibrationSpecs


class EvaluateParams(Spec):
    """The params of an `evaluate` job."""

    calibrations: list[Annotated[str, Field(pattern=CALIBRATION_REFERENCE)]] = Field(
        min_length=1,
        max_length=100,
        description="Calibrations, or calibrate jobs (all of theirs); one data set in all.",
    )
    seed: Seed = 0
    evaluate: EvaluateSpec = EvaluateSpec()


class RandomBaseline(Spec):
    """Beside the distilled set: as many random real images."""

    source: Literal["random"]


class FullBaseline(Spec):
    """Beside the distilled set: the real training images, or a random subset of them."""

    source: Literal["full"]
    n_images: int | None = Field(None, ge=1, le=10_000_000)
    epochs: int = Field(30, ge=1, le=100_000, description="Replaces train.epochs for this row.")


Baseline = Annotated[RandomBaseline | FullBaseline, Field(discriminator="source")]


class PipelineParams(Spec):
    """The params of a `pipeline`: distill, train, calibrate and evaluate in one submission."""

    dataset: DatasetName
    seed: Seed = 0
    n_validation: NValidation = None
    distill: DistillSpec = DistillSpec()
    train: TrainSpec = TrainSpec()
    baselines: list[Baseline] = Field(
        [RandomBaseline(source="random")],
        max_length=4,
        description="Training sets to put beside the distilled one.",
    )
    train_losses: list[TrainLoss] = Field(
        [],
        max_length=8,
        description="Losses to train further networks with on the distilled set, each to be shown "
        "beside train.loss before and after the same temperature scaling.",
    )
    calibrate: CalibrationSpecs
    evaluate: EvaluateSpec = EvaluateSpec()

    @model_validator(mode="after")
    def _losses_can_be_compared(self) -> "PipelineParams":
        losses = [self.train.loss, *self.train_losses]
        if any(loss in losses[:k] for k, loss in enumerate(losses)):
            raise ValueError(
                "train_losses: each loss is wanted once, and none that is train.loss already"
            )
        if self.train_losses and not any(spec.method == "ts" for spec in self.calibrate):
            raise ValueError(
                "train_losses: a ts among calibrate is wanted, as losses are compared before and "
                "after temperature scaling"
            )
        return self


class DatasetFacts(Spec):
    """What is known of a data set without opening it.

    Attributes:
        image_shape: (C, H, W).
        class_names: one a class; label k is the k-th.
        train_class_counts: training images of each class, before the validation cut.
        test_class_counts: test images of each class.
        mean: of each channel over the training images, of pixels in [0, 1].
        std: likewise; never 0.
    """

    image_shape: tuple[int, int, int]
    class_names: tuple[str, ...]
    train_class_counts: tuple[int, ...]
    test_class_counts: tuple[int, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]

    @property
    def n_classes(self) -> int:
        """How many classes K there are."""
        return len(self.class_names)
