"""`pipeline`: all of it in one submission, with baselines beside the distilled set."""

from collections.abc import Mapping
from typing import Annotated, Literal, TypeVar

from pydantic import Field, ValidationInfo, field_validator, model_validator

from ddcal_core.specs.calibration import CalibrationSpecs, default_calibrations
from ddcal_core.specs.evaluation import EvaluateSpec
from ddcal_core.specs.experts import ExpertSpec
from ddcal_core.specs.fields import Spec, members_of
from ddcal_core.specs.kinds.distill import DistillationParams
from ddcal_core.specs.methods.method import smoke_shape
from ddcal_core.specs.networks import NetworkSpec
from ddcal_core.specs.training import (
    ConvNetFeatures,
    HerdingFeatures,
    Teacher,
    TrainLoss,
    TrainSpec,
)


class RandomBaseline(Spec):
    """Beside the distilled set: as many random real images."""

    source: Literal["random"]


class TaughtBaseline(Spec):
    """Beside the distilled set: the random images with soft labels by a network trained on all."""

    source: Literal["taught"]
    teacher: Teacher = Field(Teacher(), description="Who labels the images.")


class HerdingBaseline(Spec):
    """Beside the distilled set: as many real images, chosen by herding."""

    source: Literal["herding"]
    features: HerdingFeatures = ConvNetFeatures(name="convnet")


class FullBaseline(Spec):
    """Beside the distilled set: the real training images, or a random subset of them."""

    source: Literal["full"]
    n_images: int | None = Field(
        None, ge=1, le=10_000_000, description="A random subset of that size; default: all."
    )
    epochs: int = Field(30, ge=1, le=100_000, description="Replaces train.epochs for this row.")


AnyBaseline = RandomBaseline | TaughtBaseline | HerdingBaseline | FullBaseline
BASELINES: Mapping[str, type[Spec]] = members_of(AnyBaseline, "source")
"""The word in requests -> what can be asked of it."""
Baseline = Annotated[AnyBaseline, Field(discriminator="source")]


NetworkT = TypeVar("NetworkT", bound=NetworkSpec)


def _as_deep_as_images_bear(spec: NetworkT, info: ValidationInfo) -> NetworkT:
    """A convnet without a depth of its own is as deep as a set of the data is distilled on."""
    shape = smoke_shape(info.data.get("dataset", ""))
    if spec.network != "convnet" or "depth" in spec.model_fields_set:
        return spec
    return spec.model_copy(update=dict(shape))


class PipelineParams(DistillationParams):
    """The params of a `pipeline`: distill, train, calibrate and evaluate in one submission."""

    experts: ExpertSpec | None = Field(
        None,
        description=(
            "Experts for method mtt, recorded before it distils. Default: experts of the "
            "same network and augmentation, trained for as many epochs as it reads."
        ),
    )
    train: TrainSpec = Field(
        TrainSpec(),
        validate_default=True,
        description="How networks are trained. The depth of a convnet, if not given, is one less "
        "for digits, whose images are tiny.",
    )
    baselines: list[Baseline] = Field(
        [RandomBaseline(source="random")],
        max_length=5,
        description="Training sets to compare the distilled one with. Default: random.",
    )
    train_networks: list[NetworkSpec] = Field(
        [],
        max_length=8,
        description=(
            "Further networks, trained as train says, on the distilled set and on the "
            "random, taught and herding baselines. Default: none."
        ),
    )
    train_losses: list[TrainLoss] = Field(
        [],
        max_length=8,
        description=(
            "Further losses to train networks with on the distilled set, each reported "
            "beside train.loss before and after the same temperature scaling. Default: none."
        ),
    )
    calibrate: CalibrationSpecs = Field(
        default_factory=default_calibrations,
        description=(
            "How each network is calibrated, a row of the report each. Default: none, ts on "
            "validation images, and mts on the small set alone, its ratio found."
        ),
    )
    evaluate: EvaluateSpec = Field(EvaluateSpec(), description="What the report measures.")

    @field_validator("train")
    @classmethod
    def _is_no_deeper_than_images_bear(cls, spec: TrainSpec, info: ValidationInfo) -> TrainSpec:
        return _as_deep_as_images_bear(spec, info)

    @field_validator("train_networks")
    @classmethod
    def _networks_differ(cls, networks: list[NetworkSpec], info: ValidationInfo) -> object:
        train: TrainSpec | None = info.data.get("train")
        asked = [] if train is None else [train.described()]
        shaped = [_as_deep_as_images_bear(network, info) for network in networks]
        for network in shaped:
            if network.described() in asked:
                raise ValueError(
                    "wanted each network once, and none that is train's own already, got "
                    f"{network.network} again"
                )
            asked.append(network.described())
        return shaped

    @model_validator(mode="after")
    def _losses_can_be_compared(self) -> "PipelineParams":
        losses = [self.train.loss, *self.train_losses]
        for loss in self.train_losses:
            self.train.check_mixes_once(loss)
        if any(loss in losses[:k] for k, loss in enumerate(losses)):
            raise ValueError(
                "train_losses: wanted each loss once, and none that is train.loss already"
            )
        if self.train_losses and not any(spec.method == "ts" for spec in self.calibrate):
            raise ValueError(
                "train_losses: wanted a ts in calibrate, as losses are compared before and after "
                "temperature scaling"
            )
        return self
