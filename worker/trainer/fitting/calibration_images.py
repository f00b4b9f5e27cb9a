"""The images a temperature is fitted on: real validation images, or a network's own small set."""

from collections.abc import Callable, Mapping
from typing import Any

import torch

from ddcal_core.data.input_space import InputSpace
from ddcal_core.data.labelled import LabelledImages
from worker.trainer.inputs import (
    DatasetInput,
    Examples,
    ModelInput,
    SetInput,
    Split,
    as_examples,
    cut,
    load_distilled_set,
    load_train_images,
    parse_json,
    random_index,
    space_of_model,
    space_of_set,
)


def has_small_set(config: Mapping[str, Any]) -> bool:
    """Whether a network of this config was trained on a small set (all but the full data)."""
    return bool(config["training_set"] != "full")


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

    def of(self, model: ModelInput, fit_on: str) -> Examples:
        """Give the images that `fit_on` means for a network.

        Args:
            model: the network.
            fit_on: "validation", or "distilled" for the small set it was trained on.

        Raises:
            ValueError: the network was trained on the full data and has no small set.
        """
        config = model.config
        if fit_on == "validation":
            # Networks of one space read one file of it, those of the standard space none.
            key = f"validation {config['split']} {model.input_space_path}"
            return self._once(key, lambda: self._validation(model))
        if not has_small_set(config):
            raise ValueError(
                "fit_on: distilled wants a network trained on a small set; "
                f"{model.id} was trained on the full data"
            )
        if config["training_set"] == "distilled":
            set_id = config["distilled_set_id"]
            return self._once(set_id, lambda: self._distilled(set_id))
        if config["training_set"] == "herding":
            key = f"herded {config['split']} {config['herded_index']} {model.input_space_path}"
            return self._once(key, lambda: self._herded(model))
        return self._once(f"random {model.id}", lambda: self._random(model))

    def factor_of(self, model: ModelInput) -> float | None:
        """Give the factor that the distilled set of a network carries; None where there is none."""
        if model.config["training_set"] != "distilled":
            return None
        manifest = self._distilled_sets[model.config["distilled_set_id"]].manifest
        measured = manifest.get("calibration_factor") or {}
        factor: float | None = measured.get("factor")
        return factor

    def space_of(self, model: ModelInput) -> InputSpace:
        """Give what a network reads of pixels, the same object to all networks of one space."""
        classes = model.config["split"].get("classes")
        key = str(model.input_space_path or f"standard space of classes {classes}")
        if key not in self._spaces:
            self._spaces[key] = space_of_model(model)
        return self._spaces[key]

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
        data, train_index, _ = self._cut(manifest)
        n_classes = space.facts.n_classes
        smallest = int(data.labels[train_index].bincount(minlength=n_classes).min())
        if smallest < manifest["images_per_class"]:
            return []
        configs = [
            {name: manifest[name] for name in ("seed", "images_per_class")} | {"seed_index": k}
            for k in range(n_sets)
        ]
        drawn = [random_index(data, train_index, n_classes, config=config) for config in configs]
        return [as_examples(data, index, space, self._device).images for index in drawn]

    def _once(self, key: str, read: Callable[[], Examples]) -> Examples:
        if key not in self._read:
            self._read[key] = read()
        return self._read[key]

    def _distilled(self, set_id: str) -> Examples:
        return load_distilled_set(self._distilled_sets[set_id], self._device)

    def _validation(self, model: ModelInput) -> Examples:
        data, _, validation_index = self._cut(model.config)
        return as_examples(data, validation_index, self.space_of(model), self._device)

    def _random(self, model: ModelInput) -> Examples:
        data, train_index, _ = self._cut(model.config)
        space = self.space_of(model)
        index = random_index(data, train_index, space.facts.n_classes, config=model.config)
        return as_examples(data, index, space, self._device)

    def _herded(self, model: ModelInput) -> Examples:
        data, _, _ = self._cut(model.config)
        index = torch.tensor(model.config["herded_index"])
        return as_examples(data, index, self.space_of(model), self._device)

    def _cut(self, config: Mapping[str, Any]) -> tuple[LabelledImages, torch.Tensor, torch.Tensor]:
        """Give training images of a split's classes, and where those to learn from and cut are."""
        split = parse_json(Split, config["split"])
        if split.dataset != self._dataset.name:
            raise ValueError(
                f"wanted networks trained on {self._dataset.name}; one was on {split.dataset}"
            )
        dataset = self._dataset.of_classes(split.classes)
        if split.classes not in self._train_images:
            self._train_images[split.classes] = load_train_images(dataset)
        data = self._train_images[split.classes]
        return data, *cut(data, split, dataset.facts.n_classes)
