"""How networks are trained, and on what."""

from collections.abc import Mapping
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from ddcal_core.specs.augmentations import Augmentation
from ddcal_core.specs.fields import SET_REFERENCE, ImagesPerClass, Spec, is_none, members_of
from ddcal_core.specs.information_drop import Drop
from ddcal_core.specs.networks import NetworkSpec
from ddcal_core.specs.regularisers import Cutmix, Mixup, Regulariser

DEFAULT_LR = 0.01
DEFAULT_ADAMW_LR = 1e-3


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


class Sgd(Spec):
    """SGD with train.momentum and train.weight_decay; lr times 0.1 at half of the epochs."""

    name: Literal["sgd"]


class AdamW(Spec):
    """AdamW: lr rises linearly over the first steps, then falls by a half cosine to 0.

    Decay is decoupled, and of the weights of linear and convolution layers alone. train.momentum
    and train.weight_decay have no part in it. Source: Loshchilov and Hutter, ICLR 2019; as vision
    transformers are trained (Touvron et al., ICML 2021).
    """

    name: Literal["adamw"]
    warm_up: float = Field(0.1, ge=0, lt=1, description="Share of the steps in which lr rises.")
    weight_decay: float = Field(0.05, ge=0, le=1, description="Times lr and the weights, a step.")


AnyOptimiser = Sgd | AdamW
OPTIMISERS: Mapping[str, type[Spec]] = members_of(AnyOptimiser, "name")
"""The word in requests -> what can be asked of it."""

AnyLoss = CrossEntropy | LabelSmoothing | Focal | FocalSchedule | Mixup
LOSSES: Mapping[str, type[Spec]] = members_of(AnyLoss, "name")
"""The word in requests -> what can be asked of it."""
TrainLoss = Annotated[AnyLoss, Field(discriminator="name")]


class TrainSpec(NetworkSpec):
    """Train networks: SGD, learning rate times 0.1 at half of the epochs (DC's protocol).

    Unless another optimiser is named.
    """

    n_seeds: int = Field(3, ge=1, le=20, description="Number of networks, each from its own seed.")
    epochs: int = Field(300, ge=1, le=100_000, description="Passes over the training set.")
    batch_size: int = Field(256, ge=1, le=100_000, description="Images per step of SGD.")
    lr: float | None = Field(
        None,
        gt=0,
        le=100,
        description=(
            "Learning rate. Default: for a convnet the one learned with the distilled set, "
            f"if there is one; otherwise {DEFAULT_LR}, of adamw always {DEFAULT_ADAMW_LR}."
        ),
    )
    momentum: float = Field(0.9, ge=0, lt=1, description="Momentum of SGD.")
    weight_decay: float = Field(5e-4, ge=0, le=1, description="Times the weights, in the gradient.")
    optimiser: AnyOptimiser | None = Field(
        None,
        exclude_if=is_none,  # as in the records from before it
        discriminator="name",
        description=(
            "What takes the steps; vision transformers are usually trained by adamw. Default: sgd."
        ),
    )
    loss: TrainLoss = Field(
        CrossEntropy(name="cross_entropy"), description="What is minimised. Default: cross_entropy."
    )
    augmentation: Augmentation = Field(
        (),
        strict=False,
        description=(
            "DSA: one of these changes is drawn for each batch, with parameters of its own "
            "for each image; none if empty. Default: none."
        ),
    )
    regulariser: Regulariser | None = Field(
        None,
        exclude_if=is_none,  # likewise
        description=(
            "What else each batch goes through, after the augmentation; labels that it blends "
            "are learned with any loss. mixup here is the same as the loss mixup, which is "
            "cross-entropy. Default: nothing."
        ),
    )

    drop: Drop | None = Field(
        None,
        exclude_if=is_none,  # likewise
        description=(
            "Information taken out of the training set before networks see it, whichever set it "
            "is, to compare how much distilled and real sets lose by it. Drawn for each network, "
            'and kept for all epochs, as in `{"what": "pixels", "share": 0.3}`. Default: none.'
        ),
    )

    @model_validator(mode="after")
    def _numbers_are_of_the_optimiser(self) -> Self:
        own = {name: getattr(self, name) for name in ("momentum", "weight_decay")}
        # By value: stored trainings have every field.
        changed = [name for name in own if own[name] != type(self).model_fields[name].default]
        if isinstance(self.optimiser, AdamW) and changed:
            raise ValueError(
                "adamw has a weight_decay of its own, optimiser.weight_decay, and no momentum: "
                f"wanted none beside it, got {', '.join(changed)}"
            )
        return self

    @model_validator(mode="after")
    def _mixes_once(self) -> Self:
        self.check_mixes_once(self.loss)
        return self

    def check_mixes_once(self, loss: AnyLoss) -> None:
        """Refuse a loss that blends images which the regulariser has blended.

        Raises:
            ValueError: both do.
        """
        if isinstance(loss, Mixup) and isinstance(self.regulariser, Mixup | Cutmix):
            raise ValueError(
                "the loss mixup blends images and labels already: wanted another loss or no "
                f"regulariser {self.regulariser.name}"
            )

    def with_network(self, network: NetworkSpec) -> "TrainSpec":
        """The same training of another network."""
        return self.model_copy(update=network.model_dump())

    def with_learned_lr(self, learned_lr: float | None) -> "TrainSpec":
        """Fill in a learning rate that was not asked for.

        A learned one is for SGD on a network like the one distilled on: an AlexNet diverges with
        it.

        Args:
            learned_lr: the one learned with the set trained on; None where there is none.
        """
        if self.lr is not None:
            return self
        if isinstance(self.optimiser, AdamW):
            return self.model_copy(update={"lr": DEFAULT_ADAMW_LR})
        is_known = learned_lr is not None and self.network == "convnet"
        return self.model_copy(update={"lr": learned_lr if is_known else DEFAULT_LR})


class DistilledTrainingSet(Spec):
    """Train on a distilled set (a DDNN)."""

    source: Literal["distilled"]
    distilled_set: str = Field(
        pattern=SET_REFERENCE, description="A distilled set, or the job that makes it."
    )


class RandomTrainingSet(Spec):
    """Train on random real images, a fresh draw for each network (the coreset row)."""

    source: Literal["random"]
    images_per_class: int = Field(10, ge=1, le=100_000, description="Size of the draw, a class.")


class Teacher(Spec):
    """A network like those to be taught, trained on all real images left by the validation cut."""

    epochs: int = Field(30, ge=1, le=100_000, description="Passes over the real images.")
    temperature: float = Field(
        1.0, gt=0, le=1_000, description="Its logits are divided by it; above 1 labels are softer."
    )


class TaughtTrainingSet(Spec):
    """Train on the images of source random, with soft labels by a teacher in place of their own.

    Source: Qin, Deng and Alvarez-Melis, NeurIPS 2024 (A Label is Worth a Thousand Images).
    """

    source: Literal["taught"]
    images_per_class: int = Field(10, ge=1, le=100_000, description="Size of the draw, a class.")
    teacher: Teacher = Field(Teacher(), description="Who labels the images.")


class PixelFeatures(Spec):
    """The images themselves, in network-input space."""

    name: Literal["pixels"]


class ConvNetFeatures(Spec):
    """What the linear layer of a ConvNet sees that was trained on real images for a short time.

    Batches of 256, SGD with learning rate 0.01 and momentum 0.9.
    """

    name: Literal["convnet"]
    width: int = Field(32, ge=1, le=512, description="Channels of each block.")
    depth: int = Field(3, ge=1, le=12, description="Blocks; each halves the image.")
    epochs: int = Field(10, ge=0, le=10_000, description="0: random features.")
    n_images: int = Field(
        5_000,
        ge=1,
        le=10_000_000,
        description="Random training images that the network learns from, or all if fewer.",
    )


HerdingFeatures = Annotated[
    PixelFeatures | ConvNetFeatures,
    Field(
        discriminator="name", description="Whose mean is to be met. Default: those of a convnet."
    ),
]


class HerdingTrainingSet(Spec):
    """Train on real images chosen so that their mean feature follows their class's (herding).

    One choice for all networks of a job, made from the training images left by the validation cut.
    Source: Welling, ICML 2009; as a coreset beside distilled sets in Zhao et al., ICLR 2021.
    """

    source: Literal["herding"]
    images_per_class: ImagesPerClass = 10
    features: HerdingFeatures = ConvNetFeatures(name="convnet")


class FullTrainingSet(Spec):
    """Train on the real training images left after the validation cut (an FDNN)."""

    source: Literal["full"]
    n_images: int | None = Field(
        None, ge=1, le=10_000_000, description="A random subset of that size; default: all."
    )


AnyTrainingSet = (
    DistilledTrainingSet
    | RandomTrainingSet
    | TaughtTrainingSet
    | HerdingTrainingSet
    | FullTrainingSet
)
TRAINING_SETS: Mapping[str, type[Spec]] = members_of(AnyTrainingSet, "source")
"""The word in requests -> what can be asked of it."""
TrainingSet = Annotated[
    AnyTrainingSet, Field(discriminator="source", description="What networks are trained on.")
]
