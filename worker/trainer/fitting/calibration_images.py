"""The images a temperature is fitted on: real validation images, or a network's own small set."""

from collections.abc import Callable, Mapping
from typing import assert_never

import torch

from ddcal_core.data.input_space import InputSpace
from ddcal_core.data.labelled import LabelledImages, as_pixels
from ddcal_core.formats.calibrations import FitOn
from ddcal_core.formats.manifests import Split
from worker.trainer.inputs import DatasetInput, ModelInput, SetInput
from worker.trainer.loading import (
    Examples,
    RandomDraw,
    as_examples,
    cut,
    load_distilled_set,
    load_train_images,
    random_index,
    space_of_model,
    space_of_set,
    without_information,
)


class CalibrationImages:
    """Finds networks' validation images and small sets; each is read once.

    Args:
        dataset: the data set of all networks asked for, with all of its classes.
        distilled_sets: by id, those that networks were trained on.
        device: where the images live.
    """

    def __init__(
        self,
        dataset: DatasetInput,
        distilled_sets: Mapping[str, SetInput],
        device: torch.device,
    ) -> None:
        self._dataset = dataset
        self._distilled_sets = distilled_sets
        self._device = device
        self._train_images: dict[tuple[int, ...] | None, LabelledImages] = {}
        self._read: dict[str, Examples] = {}
        self._spaces: dict[str, InputSpace] = {}

    def of(self, model: ModelInput, fit_on: FitOn) -> Examples:
        """Give the images that `fit_on` means for a network.

        Where information was dropped from the small set, it is dropped here, too.

        Args:
            model: the network.
            fit_on: "validation", or "training_set" for the small set it was trained on.

        Raises:
            ValueError: the network was trained on the full data, or elsewhere, and has no small
                set.
        """
        config = model.config
        if fit_on == "validation":
            key = f"validation {config.split} {_space_key(model)}"
            return self._once(key, lambda: self._validation(model))
        whole = self._small_set(model)
        drop = None if config.train is None else config.train.drop
        if drop is None:
            return whole
        seeds = {"seed": config.seed, "seed_index": config.seed_index}
        return self._once(f"left {model.id}", lambda: without_information(whole, drop, **seeds))

    def distilled(self, set_id: str) -> Examples:
        """Give a whole distilled set, by its id."""
        return self._once(set_id, lambda: self._distilled(set_id))

    def _small_set(self, model: ModelInput) -> Examples:
        config = model.config
        match config.training_set:
            case "distilled":
                assert config.distilled_set_id is not None
                return self.distilled(config.distilled_set_id)
            case "herding":
                key = f"herded {config.split} {config.herded_index} {_space_key(model)}"
                return self._once(key, lambda: self._herded(model))
            case "random" | "taught":
                return self._once(f"random {model.id}", lambda: self._random(model))
            case "unknown":
                raise ValueError(
                    "fit_on: training_set wants a network trained on a small set; nobody here "
                    f"knows what {model.id} was trained on: import it with distilled_set"
                )
            case "full":
                raise ValueError(
                    "fit_on: training_set wants a network trained on a small set; "
                    f"{model.id} was trained on the full data"
                )
            case _:
                assert_never(config.training_set)

    def factor_of(self, model: ModelInput) -> float | None:
        """Give the factor that the distilled set of a network carries; None where there is none."""
        set_id = model.config.distilled_set_id
        if set_id is None:
            return None
        measured = self._distilled_sets[set_id].manifest.calibration_factor
        return None if measured is None else measured.factor

    def space_of(self, model: ModelInput) -> InputSpace:
        """Give what a network reads of pixels, the same object to all networks of one space."""
        key = _space_key(model)
        if key not in self._spaces:
            self._spaces[key] = space_of_model(model)
        return self._spaces[key]

    def validation_pixels(self, model: ModelInput, n_images: int) -> torch.Tensor:
        """Give pixels of a network's validation images, float32 (N, C, H, W) in [0, 1], on the CPU.

        Args:
            model: the network.
            n_images: at most, evenly spaced among them.
        """
        data, _, places = self._cut(model.config.split)
        step = max(1, -(-len(places) // n_images))
        return as_pixels(data.images[places[::step]])

    def random_real(self, distilled: SetInput, n_sets: int) -> list[torch.Tensor]:
        """Give random sets of real training images, as many of each class as a distilled set has.

        They are those that random baselines of the same seed are trained on, network by network.

        Args:
            distilled: the set; the images are given in its input space.
            n_sets: how many to draw.

        Returns:
            Images float32 (M, C, H, W); none where a class has too few.
        """
        manifest, space = distilled.manifest, space_of_set(distilled)
        data, train_index, _ = self._cut(manifest.split)
        n_classes = space.facts.n_classes
        smallest = int(data.labels[train_index].bincount(minlength=n_classes).min())
        if smallest < manifest.images_per_class:
            return []
        draws = [
            RandomDraw(images_per_class=manifest.images_per_class, seed=manifest.seed, seed_index=k)
            for k in range(n_sets)
        ]
        drawn = [random_index(data, train_index, n_classes, draw) for draw in draws]
        return [as_examples(data, index, space, self._device).images[:] for index in drawn]

    def _once(self, key: str, read: Callable[[], Examples]) -> Examples:
        if key not in self._read:
            self._read[key] = read()
        return self._read[key]

    def _distilled(self, set_id: str) -> Examples:
        return load_distilled_set(self._distilled_sets[set_id], self._device)

    def _validation(self, model: ModelInput) -> Examples:
        data, _, validation_index = self._cut(model.config.split)
        return as_examples(data, validation_index, self.space_of(model), self._device)

    def _random(self, model: ModelInput) -> Examples:
        data, train_index, _ = self._cut(model.config.split)
        space, config = self.space_of(model), model.config
        assert config.images_per_class is not None
        draw = RandomDraw(
            images_per_class=config.images_per_class,
            seed=config.seed,
            seed_index=config.seed_index,
        )
        index = random_index(data, train_index, space.facts.n_classes, draw)
        return as_examples(data, index, space, self._device)

    def _herded(self, model: ModelInput) -> Examples:
        data, _, _ = self._cut(model.config.split)
        index = torch.tensor(model.config.herded_index)
        return as_examples(data, index, self.space_of(model), self._device)

    def _cut(self, split: Split) -> tuple[LabelledImages, torch.Tensor, torch.Tensor]:
        """Give training images of a split's classes, and where those to learn from and cut are."""
        if split.dataset != self._dataset.name:
            raise ValueError(
                f"wanted networks trained on {self._dataset.name}; one was on {split.dataset}"
            )
        dataset = self._dataset.of_classes(split.classes)
        if split.classes not in self._train_images:
            self._train_images[split.classes] = load_train_images(dataset)
        data = self._train_images[split.classes]
        return data, *cut(data, split, dataset.facts.n_classes)


def _space_key(model: ModelInput) -> str:
    """What networks of one space have in common.

    Those of a whitened one read one file of it, those of the standard space the same mean and std:
    a network or a set made elsewhere may have numbers of its own.
    """
    facts = model.config.facts
    return f"{model.input_space_path} {model.config.split.classes} {facts.mean} {facts.std}"
