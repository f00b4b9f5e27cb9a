"""The real images a job learns from: classes picked, validation cut, long tail, input space."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from ddcal_core.data.class_choice import class_indices
from ddcal_core.data.input_space import InputSpace, fit_space
from ddcal_core.data.labelled import LabelledImages
from ddcal_core.errors import InvalidDataError
from ddcal_core.formats.manifests import Split
from ddcal_core.specs.facts import DatasetFacts
from ddcal_core.specs.fields import Imbalance
from ddcal_core.specs.spaces import InputSpaceSpec, StandardSpace
from worker.trainer.inputs import DatasetInput, Task, parse_json
from worker.trainer.loading import Examples, as_examples, cut, load_train_images


class DataChoice(Protocol):
    """What params say of the images to learn from."""

    @property
    def seed(self) -> int:
        """Of the cut and the long tail, among others."""

    @property
    def n_validation(self) -> int | None:
        """Images to cut; None for the default."""

    @property
    def classes(self) -> Sequence[int | str] | None:
        """Those to take, by name or index; None for all."""

    @property
    def imbalance(self) -> Imbalance | None:
        """The long tail; None for none."""

    @property
    def input_space(self) -> InputSpaceSpec | None:
        """What networks are to read; None for standard."""


@dataclass(frozen=True, eq=False)
class RealImages:
    """A data set's training images as a job's params have them.

    Attributes:
        split: which they are.
        data: all training images of the split's classes, validation images among them.
        train_index: int64, into `data`: those to learn from.
        validation_index: int64, likewise: those cut, or of a validation split of its own.
        space: fitted on those to learn from; its facts are of the split's classes.
    """

    split: Split
    data: LabelledImages
    train_index: Tensor
    validation_index: Tensor
    space: InputSpace

    @property
    def facts(self) -> DatasetFacts:
        """Of the split's classes."""
        return self.space.facts

    def examples(self, index: Tensor, device: torch.device) -> Examples:
        """Give the images at an index into `data`, in network-input space.

        Args:
            index: int64 (M,).
            device: where the result lives.

        Returns:
            M images with their labels.
        """
        return as_examples(self.data, index, self.space, device)

    def choice(self) -> dict[str, Any]:
        """Give what decides which images these are and how networks read them."""
        return {
            "split": self.split.as_json(),
            "input_space": self.space.spec.model_dump(mode="json"),
        }

    def class_counts(self) -> tuple[int, ...]:
        """Count the images to learn from, class by class."""
        counts = torch.bincount(self.data.labels[self.train_index], minlength=self.facts.n_classes)
        return tuple(counts.tolist())


def open_real_images(params: DataChoice, task: Task) -> RealImages:
    """Read, pick, cut and thin out a job's training images, and fit the input space on them.

    Raises:
        InvalidDataError: a class that there is not, images that cannot be read, too large ones to
            whiten, or a cut of a data set that has a validation split.
    """
    whole = parse_json(DatasetInput, task.inputs["dataset"])
    if whole.facts.n_own_validation is not None and params.n_validation is not None:
        raise InvalidDataError(
            f"n_validation: wanted none, as {whole.name} has a validation split of its own; got "
            f"{params.n_validation}"
        )
    classes = class_indices(whole.facts, params.classes)
    dataset = whole.of_classes(classes)
    split = Split(
        dataset=dataset.name,
        seed=params.seed,
        n_validation=params.n_validation,
        classes=classes,
        imbalance=None if params.imbalance is None else params.imbalance.factor,
        n_own_validation=dataset.facts.n_own_validation,
    )
    data = load_train_images(dataset)
    train_index, validation_index = cut(data, split, dataset.facts.n_classes)
    spec = params.input_space or StandardSpace(name="standard")
    space = fit_space(spec, data.images, dataset.facts, task.on_progress, index=train_index)
    return RealImages(split, data, train_index, validation_index, space)
