"""What a model's config.json and a distilled set's manifest.json say."""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, ConfigDict, Field, PlainSerializer

from ddcal_core.formats.calibrations import CalibrationValues, TrainingSource
from ddcal_core.formats.imported_networks import ImportedNetwork
from ddcal_core.formats.imported_sets import ImportedSet
from ddcal_core.formats.records import Record, VersionedRecord, is_empty
from ddcal_core.specs.facts import DatasetFacts
from ddcal_core.specs.fields import is_none
from ddcal_core.specs.foreign_networks import FOREIGN_NAMES, AnyNetwork, ForeignNetwork
from ddcal_core.specs.masks import MaskSpec
from ddcal_core.specs.networks import network_spec
from ddcal_core.specs.regularisers import Regulariser
from ddcal_core.specs.spaces import InputSpaceSpec
from ddcal_core.specs.training import HerdingFeatures, Teacher, TrainSpec


def _network_of(held: object) -> object:
    if not isinstance(held, Mapping):
        return held
    if held.get("name") in FOREIGN_NAMES:
        return ForeignNetwork(network=held["name"])
    return network_spec(held)


def _described(network: AnyNetwork) -> dict[str, Any]:
    return network.described()


DescribedNetwork = Annotated[AnyNetwork, BeforeValidator(_network_of), PlainSerializer(_described)]
"""A network, in JSON by its name and its own options alone."""


class Split(Record):
    """Which images of a data set are for training and which for validation.

    Attributes:
        dataset: its name.
        seed: of the cut and of the long tail.
        n_validation: images cut; None for the default.
        classes: those taken, as labels of the whole data set, test images' too; None for all.
        imbalance: factor of the long tail that training images are thinned out to once the
            validation images are cut; None for none.
        n_own_validation: of the data set's own validation split, of these classes; None: it is cut.
    """

    dataset: str
    seed: int
    n_validation: int | None
    classes: tuple[int, ...] | None = None
    imbalance: float | None = None
    n_own_validation: int | None = Field(None, exclude_if=is_none)


class MadeWith(Record):
    """What a result was computed with: its bytes may differ with another.

    Attributes:
        torch: the version of PyTorch.
        device: what computed, and its name.
        threads: of the CPU.
    """

    torch: str
    device: str
    threads: int


class DescribedSpace(Record):
    """What a file says of its data set and input space.

    Attributes:
        space: in words.
        input_space: as a spec.
        image_shape: (C, H, W).
        class_names: of label 0, 1, ...
        mean: of each channel, of pixels in [0, 1].
        std: likewise.
        facts: all that is known of the data set.
    """

    space: str
    input_space: InputSpaceSpec
    image_shape: tuple[int, int, int]
    class_names: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    facts: DatasetFacts

    @staticmethod
    def of(spec: InputSpaceSpec, facts: DatasetFacts) -> "DescribedSpace":
        """Give what a user needs at the top level, and all facts and the spec for reading back."""
        return DescribedSpace(
            space=f"network input: {spec.words}; feed to a network as it is",
            input_space=spec,
            image_shape=facts.image_shape,
            class_names=facts.class_names,
            mean=facts.mean,
            std=facts.std,
            facts=facts,
        )


class ModelProvenance(Record):
    """How a network was trained.

    Of one made elsewhere nobody knows: its training, the images and its accuracy on them are null.

    Attributes:
        dataset: its name.
        training_set: what on, by `source` of the train job; "unknown" where nobody here knows.
        distilled_set_id: of the distilled set, where it was one.
        images_per_class: of the training set; None for the full data, and where it is not known.
        split: which images are real training images, and which validation images.
        n_real_images: real images left by the cut; None with a distilled set, whose manifest says.
        real_class_counts: likewise, of each class.
        herding: what images were chosen by, where they were.
        herded_index: the images chosen, as places among all training images.
        teacher: who labelled the images, where one did.
        seed: of the job.
        seed_index: the network's place among those of its job.
        network: name and options.
        train: how it was trained; None where that is not known.
        lr_is_learned: whether the learning rate is the one learned with the set.
        has_soft_labels: whether it was trained on soft labels.
        n_train: images trained on; None where that is not known.
        train_accuracy: on these, in [0, 1]; likewise.
        seconds: of the training.
        made_with: torch and device.
        imported: where a network made elsewhere came from, and how it is read.
    """

    dataset: str
    training_set: TrainingSource
    distilled_set_id: str | None
    images_per_class: int | None
    split: Split
    n_real_images: int | None = Field(None, exclude_if=is_none)
    real_class_counts: tuple[int, ...] | None = Field(None, exclude_if=is_none)
    herding: HerdingFeatures | None = Field(None, exclude_if=is_none)
    herded_index: tuple[int, ...] | None = Field(None, exclude_if=is_none)
    teacher: Teacher | None = Field(None, exclude_if=is_none)
    seed: int
    seed_index: int
    network: DescribedNetwork
    train: TrainSpec | None
    lr_is_learned: bool
    has_soft_labels: bool
    n_train: int | None
    train_accuracy: float | None
    seconds: float
    made_with: MadeWith
    imported: ImportedNetwork | None = Field(None, exclude_if=is_none)


class ModelConfig(DescribedSpace, ModelProvenance, VersionedRecord):
    """A model's config.json.

    Attributes:
        format: for other programs.
        output: of the network, in words.
    """

    KIND: ClassVar[str] = "model's config"

    format: str = "ddcal model 1"
    output: str = "logits (N, K), one a class name"

    @classmethod
    def upgraded(cls, held: Mapping[str, Any]) -> dict[str, Any]:
        """Give version 1 as version 2: models from before there was a choice of space read pixels.

        Their training and network may lack options, too, which then have their defaults.
        """
        lacking = {"input_space": {"name": "standard"}, "lr_is_learned": False}
        return {**lacking, "has_soft_labels": False, **super().upgraded(held)}


class CalibratedModelConfig(ModelConfig):
    """The config.json of a calibrated model.

    Attributes:
        temperature: None where there is none.
        calibration: what was found.
        how_to_use: of each file how, in words.
    """

    KIND: ClassVar[str] = "calibrated model's config"

    format: str = "ddcal calibrated model 1"
    temperature: float | None
    calibration: CalibrationValues
    how_to_use: dict[str, str]

    @classmethod
    def upgraded(cls, held: Mapping[str, Any]) -> dict[str, Any]:
        """Give version 1 as version 2, its calibration too."""
        calibration = CalibrationValues.upgraded(held.get("calibration") or {})
        return {**super().upgraded(held), "calibration": calibration}


class FactorTraining(Record):
    """How the one network was trained that a set's factor was measured with.

    Attributes:
        epochs: passes over the set.
        batch_size: images per step.
        lr: learning rate.
    """

    epochs: int
    batch_size: int
    lr: float


class SetFactor(VersionedRecord):
    """The factor that a distilled set carries, and how it was measured.

    Attributes:
        factor: temperature over half_way_temperature or logit_rms; None where there is none.
        why_none: why there is no factor.
        temperature: exact T on labelled real images; None where there is none.
        half_way_temperature: T on images midway between two of the set; None where there is none.
        logit_rms: of the logits about their row's mean, on the set; of two classes alone.
        n_real: labelled real images it was measured on.
        labels_used: which labels, in words.
        network: the one it was measured with.
        train: how that was trained.
        validation_accuracy: of that, in [0, 1].
        seconds: of all this.
    """

    KIND: ClassVar[str] = "set's factor"

    factor: float | None
    why_none: str | None = Field(None, exclude_if=is_none)
    temperature: float | None
    half_way_temperature: float | None
    logit_rms: float | None = Field(None, exclude_if=is_none)
    n_real: int
    labels_used: str
    network: DescribedNetwork
    train: FactorTraining
    validation_accuracy: float
    seconds: float


class NoSetFactor(VersionedRecord):
    """Why a distilled set carries no factor, though one was asked for.

    Attributes:
        factor: None.
        why_none: what went wrong with the network it was to be measured with.
    """

    KIND: ClassVar[str] = "set's factor"

    factor: None = None
    why_none: str


class SetWarning(Record):
    """What whoever uses a distilled set should know of it first.

    Attributes:
        code: "below_start", where distilling has made the images worse than they began, or
            "guesses", where a network trained on them does no better than guessing.
        message: the same with its numbers, a sentence.
    """

    code: Literal["below_start", "guesses"]
    message: str


class ScoredStep(Record):
    """The accuracy on validation images of a network trained on the set of one step.

    Attributes:
        step: of the distillation.
        accuracy: in [0, 1].
    """

    step: int
    accuracy: float


class DistillSettings(Record):
    """How a set was distilled: what others read of it, and all else as its method has it.

    No method's own spec: a method's options decide no result but its own sets.

    Attributes:
        iterations: asked for.
        mask: of the synthetic pixels in each step (MDT).
        regulariser: of the synthetic images in each step; None: none.
    """

    model_config = ConfigDict(extra="allow")

    iterations: int
    mask: MaskSpec
    regulariser: Regulariser | None = Field(None, exclude_if=is_none)


class SetProvenance(Record):
    """How a distilled set was made.

    Of one made elsewhere, whose method is "imported", that is not known: its steps, iterations and
    seconds are those spent here, 0.

    Attributes:
        dataset: its name.
        split: which images are real training images, and which validation images.
        n_real_images: real images distilled from; None where that is not known.
        real_class_counts: likewise, of each class.
        method: of the distillation.
        images_per_class: asked for.
        mask_ratio: share of synthetic pixels masked in each step (MDT).
        seed: of the job.
        distill: how it was distilled.
        expert_set_id: of the experts, with MTT.
        initial_set_id: of the distilled set started from, where it was one.
        storage: what a budget is spent on, with RTP.
        n_steps: steps taken.
        chosen_step: the step whose set this is.
        validation_accuracies: what was chosen by.
        warnings: what these say against the set.
        n_rollbacks: how often the distillation went back to an earlier step.
        seconds: of the distillation.
        calibration_factor: for the temperatures of its networks; None where it was not measured.
        made_with: torch and device; None where that is not known.
        imported: where a set made elsewhere came from.
    """

    dataset: str
    split: Split
    n_real_images: int | None
    real_class_counts: tuple[int, ...] | None = None
    method: str
    images_per_class: int
    mask_ratio: float
    seed: int
    distill: DistillSettings
    expert_set_id: str | None = Field(None, exclude_if=is_none)
    initial_set_id: str | None = Field(None, exclude_if=is_none)
    storage: dict[str, int] | None = Field(None, exclude_if=is_none)
    n_steps: int
    chosen_step: int
    validation_accuracies: tuple[ScoredStep, ...]
    warnings: tuple[SetWarning, ...] = Field((), exclude_if=is_empty)
    n_rollbacks: int
    seconds: float
    calibration_factor: SetFactor | NoSetFactor | None
    made_with: MadeWith | None
    imported: ImportedSet | None = Field(None, exclude_if=is_none)


class SetManifest(DescribedSpace, SetProvenance, VersionedRecord):
    """A distilled set's manifest.json.

    Attributes:
        format: for other programs.
        n_images: in all.
        tensors: what each is, in words.
        learned_lr: the learning rate learned with the images; None where none was.
        train_with: how networks are trained on the set unless told otherwise, as TrainSpec fields.
        how_to_load: of each file how, in words.
        compact: what each tensor of the smaller form is, where there is one.
    """

    KIND: ClassVar[str] = "distilled set's manifest"

    format: str = "ddcal distilled set 1"
    n_images: int
    tensors: dict[str, str]
    learned_lr: float | None
    train_with: dict[str, Any]
    how_to_load: dict[str, str]
    compact: dict[str, str] | None = Field(None, exclude_if=is_none)

    @classmethod
    def upgraded(cls, held: Mapping[str, Any]) -> dict[str, Any]:
        """Give version 1 as version 2: sets from before there was a choice were of pixels.

        Nor did they carry a factor or a learned learning rate.
        """
        factor = held.get("calibration_factor")
        distill = {"mask": {"ratio": held.get("mask_ratio", 0.0)}, **held.get("distill", {})}
        lacking = {"input_space": {"name": "standard"}, "learned_lr": None}
        return {
            **lacking,
            **super().upgraded(held),
            "distill": distill,
            "calibration_factor": factor and SetFactor.upgraded(factor),
        }
