"""The params of each kind of job."""

from typing import Annotated, Literal

from pydantic import Field, ValidationInfo, field_validator, model_validator

from ddcal_core.specs.calibration import CalibrationSpecs
from ddcal_core.specs.distillation import DistillSpec
from ddcal_core.specs.evaluation import EvaluateSpec
from ddcal_core.specs.fields import (
    CALIBRATION_REFERENCE,
    EXPERTS_REFERENCE,
    MODEL_REFERENCE,
    Classes,
    DatasetName,
    Imbalance,
    NValidation,
    Seed,
    Spec,
)
from ddcal_core.specs.matching import DmSpec
from ddcal_core.specs.networks import NetworkSpec
from ddcal_core.specs.presets import resolved
from ddcal_core.specs.spaces import InputSpaceSpec, StandardSpace
from ddcal_core.specs.training import (
    ConvNetFeatures,
    DistilledTrainingSet,
    HerdingFeatures,
    TrainingSet,
    TrainLoss,
    TrainSpec,
)
from ddcal_core.specs.trajectories import ExpertSpec

_OF_THE_DATA = ("dataset", "n_validation", "classes", "imbalance", "input_space")


class DataParams(Spec):
    """Which real images a job works on, in which input space, and the seed it draws by."""

    dataset: DatasetName
    seed: Seed = 0
    n_validation: NValidation = None
    classes: Classes = None
    imbalance: Imbalance | None = None
    input_space: InputSpaceSpec = StandardSpace()


class ExpertsParams(DataParams):
    """The params of an `experts` job."""

    experts: ExpertSpec = ExpertSpec()


class DistillParams(DataParams):
    """The params of a `distill` job."""

    distill: Annotated[DistillSpec, Field(validate_default=True)] = DmSpec()
    experts: str | None = Field(
        None,
        pattern=EXPERTS_REFERENCE,
        validate_default=True,
        description="Experts, or the job that records them, for method mtt alone.",
    )

    @field_validator("distill")
    @classmethod
    def _has_its_preset(cls, spec: DistillSpec, info: ValidationInfo) -> DistillSpec:
        return resolved(spec, info.data["dataset"]) if "dataset" in info.data else spec

    @field_validator("experts")
    @classmethod
    def _go_with_mtt(cls, experts: str | None, info: ValidationInfo) -> str | None:
        method = info.data["distill"].method if "distill" in info.data else None
        if method is not None and (method == "mtt") != (experts is not None):
            raise ValueError(
                "wanted with method mtt and no other (a job of kind experts makes them, a pipeline "
                f"its own), got {experts or 'none'} with {method}"
            )
        return experts


class TrainParams(Spec):
    """The params of a `train` job.

    A distilled set brings its data set, split and input space along; sets of real images name
    theirs (input_space: standard unless named).
    """

    training_set: TrainingSet
    dataset: DatasetName | None = None
    seed: Seed = 0
    n_validation: NValidation = None
    classes: Classes = None
    imbalance: Imbalance | None = None
    input_space: InputSpaceSpec | None = None
    train: TrainSpec = TrainSpec()

    @model_validator(mode="after")
    def _dataset_fits_source(self) -> "TrainParams":
        is_distilled = isinstance(self.training_set, DistilledTrainingSet)
        own = [name for name in _OF_THE_DATA if getattr(self, name) is not None]
        if is_distilled and own:
            raise ValueError(
                "a distilled set brings its data set, split and input space along: wanted "
                f"training_set, seed and train alone, got {', '.join(own)}"
            )
        if not is_distilled and self.dataset is None:
            raise ValueError("dataset is needed to train on random, herded or full real images")
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


class HerdingBaseline(Spec):
    """Beside the distilled set: as many real images, chosen by herding."""

    source: Literal["herding"]
    features: HerdingFeatures = ConvNetFeatures()


class FullBaseline(Spec):
    """Beside the distilled set: the real training images, or a random subset of them."""

    source: Literal["full"]
    n_images: int | None = Field(None, ge=1, le=10_000_000)
    epochs: int = Field(30, ge=1, le=100_000, description="Replaces train.epochs for this row.")


Baseline = Annotated[RandomBaseline | HerdingBaseline | FullBaseline, Field(discriminator="source")]


class PipelineParams(DataParams):
    """The params of a `pipeline`: distill, train, calibrate and evaluate in one submission."""

    distill: Annotated[DistillSpec, Field(validate_default=True)] = DmSpec()
    experts: ExpertSpec | None = Field(
        None,
        description="What method mtt imitates, and no other: recorded before it distills. Default: "
        "experts of the same network and augmentation, trained for as long as it reads them.",
    )
    train: TrainSpec = TrainSpec()
    baselines: list[Baseline] = Field(
        [RandomBaseline(source="random")],
        max_length=4,
        description="Training sets to put beside the distilled one.",
    )
    train_networks: list[NetworkSpec] = Field(
        [],
        max_length=8,
        description="Further networks to train as train says, on the distilled set and on the "
        "random and herding baselines.",
    )
    train_losses: list[TrainLoss] = Field(
        [],
        max_length=8,
        description="Losses to train further networks with on the distilled set, each to be shown "
        "beside train.loss before and after the same temperature scaling.",
    )
    calibrate: CalibrationSpecs
    evaluate: EvaluateSpec = EvaluateSpec()

    @field_validator("distill")
    @classmethod
    def _has_its_preset(cls, spec: DistillSpec, info: ValidationInfo) -> DistillSpec:
        return resolved(spec, info.data["dataset"]) if "dataset" in info.data else spec

    @field_validator("train_networks")
    @classmethod
    def _networks_differ(cls, networks: list[NetworkSpec], info: ValidationInfo) -> object:
        train: TrainSpec | None = info.data.get("train")
        asked = [] if train is None else [train.described()]
        for network in networks:
            if network.described() in asked:
                raise ValueError(
                    "wanted each network once, and none that is train's own already, got "
                    f"{network.network} again"
                )
            asked.append(network.described())
        return networks

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
