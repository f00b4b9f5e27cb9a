"""The images a temperature is fitted on: real validation images, or a network's own small set."""

from collections.abc import Callable, Mapping
from typing import Any

import torch

from ddcal_core.data import LabelledImages
from worker.inputs import (
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
)


def has_small_set(config: Mapping[str, Any]) -> bool:
    """Whether a network of this config was trained on a small set (distilled or random)."""
    return bool(config["training_set"] != "full")


class CalibrationImages:
    """Finds networks' validation images and small sets; each is read once.

    Args:
        dataset: the data set of all networks asked for.
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
        self._train_images: LabelledImages | None = None
        self._read: dict[str, Examples] = {}

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
            return self._once(f"validation {config['split']}", lambda: self._validation(config))
        if not has_small_set(config):
            raise ValueError(
                "fit_on: distilled wants a network trained on a small set; "
                f"{model.id} was trained on the full data"
            )
        if config["training_set"] == "distilled":
            set_id = config["distilled_set_id"]
            return self._once(set_id, lambda: self._distilled(set_id))
        return self._once(f"random {model.id}", lambda: self._random(config))

    def random_real(self, manifest: Mapping[str, Any], n_sets: int) -> list[torch.Tensor]:
        """Give random sets of real training images, as many of each class as a distilled set has.

        They are those that random baselines of the same seed are trained on, network by network.

        Args:
            manifest: of the distilled set.
            n_sets: how many to draw.

        Returns:
            Images float32 (M, C, H, W), network-input space; none where a class has too few.
        """
        train_index, _ = self._cut(manifest)
        data, n_classes = self._train(), self._dataset.facts.n_classes
        smallest = int(data.labels[train_index].bincount(minlength=n_classes).min())
        if smallest < manifest["images_per_class"]:
            return []
        configs = [
            {name: manifest[name] for name in ("seed", "images_per_class")} | {"seed_index": k}
            for k in range(n_sets)
        ]
        return [
            self._examples(random_index(data, train_index, n_classes, config=config)).images
            for config in configs
        ]

    def _once(self, key: str, read: Callable[[], Examples]) -> Examples:
        if key not in self._read:
            self._read[key] = read()
        return self._read[key]

    def _distilled(self, set_id: str) -> Examples:
        return load_distilled_set(self._distilled_sets[set_id], self._device)

    def _validation(self, config: Mapping[str, Any]) -> Examples:
        _, validation_index = self._cut(config)
        return self._examples(validation_index)

    def _random(self, config: Mapping[str, Any]) -> Examples:
        train_index, _ = self._cut(config)
        n_classes = self._dataset.facts.n_classes
        return self._examples(random_index(self._train(), train_index, n_classes, config=config))

    def _cut(self, config: Mapping[str, Any]) -> tuple[torch.Tensor, torch.Tensor]:
        split = parse_json(Split, config["split"])
        if split.dataset != self._dataset.name:
            raise ValueError(
                f"wanted networks trained on {self._dataset.name}; one was on {split.dataset}"
            )
        return cut(self._train(), split, self._dataset.facts.n_classes)

    def _examples(self, index: torch.Tensor) -> Examples:
        return as_examples(self._train(), index, self._dataset.facts, self._device)

    def _train(self) -> LabelledImages:
        if self._train_images is None:
            self._train_images = load_train_images(self._dataset)
        return self._train_images
