"""`train`: networks on a distilled set, on a few real images, or on the real data."""

from typing import Annotated

from pydantic import Field, model_validator

from ddcal_core.specs.fields import Classes, DatasetName, LongTail, NValidation, Seed, Spec
from ddcal_core.specs.spaces import InputSpaceSpec
from ddcal_core.specs.training import DistilledTrainingSet, TrainingSet, TrainSpec

_OF_THE_DATA = ("dataset", "n_validation", "classes", "imbalance", "input_space")


class TrainParams(Spec):
    """The params of a `train` job.

    A distilled set brings its data set, split and input space along; sets of real images name
    theirs (input_space: standard unless named).
    """

    training_set: TrainingSet
    dataset: Annotated[
        DatasetName | None,
        Field(description="The data set; required but with a distilled set, which brings its own."),
    ] = None
    seed: Seed = 0
    n_validation: NValidation = None
    classes: Classes = None
    imbalance: LongTail = None
    input_space: Annotated[
        InputSpaceSpec | None,
        Field(description="Default: standard, with a distilled set the one that it brings."),
    ] = None
    train: TrainSpec = Field(TrainSpec(), description="How the networks are trained.")

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
            raise ValueError("dataset is required to train on random, herded or full real images")
        return self
