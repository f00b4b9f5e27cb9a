"""The numbers that a distillation takes where a request gives none, by method, data set and size.

`published` are those of the paper's own code, only where it reports results; `smoke` are ours, for
every data set, sized for two CPU cores: they show that a method works, not how well it can.
"""

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from ddcal_core.specs.backbone import ALL_AUGMENTATIONS, BackboneSpec

SpecT = TypeVar("SpecT", bound=BackboneSpec)
Values = Mapping[str, Any]

MIRRORED_DIFFERS = frozenset({"digits", "mnist", "svhn"})
"""Data sets whose images mean something else when left and right change places."""

_DC_DATASETS = ("mnist", "fashion_mnist", "svhn", "cifar10", "cifar100")
# Images per class -> steps on the images a network, epochs of its training between two of them.
_DC_LOOPS = {1: (1, 1), 10: (10, 50), 20: (20, 25), 30: (30, 20), 40: (40, 15), 50: (50, 10)}
_DM_SIZES = {"mnist": (1, 10, 50), "cifar100": (1, 10, 50)} | {
    "cifar10": (1, 10, 50, 100, 200, 500, 1_000)
}
_DC_CODE = "github.com/VICO-UoE/DatasetCondensation, commit 53f63a6: "


def augmentations(dataset: str) -> tuple[str, ...]:
    """The changes that leave an image of a data set what it is: all, of digits not the flip."""
    return tuple(
        name for name in ALL_AUGMENTATIONS if name != "flip" or dataset not in MIRRORED_DIFFERS
    )


def _published_dc() -> dict[tuple[str, int], Values]:
    return {
        (dataset, size): {
            "init": "noise",
            "iterations": 1_000,
            "outer_loops": outer,
            "inner_epochs": inner,
            "batch_real": 256,
            "batch_synthetic": 256,
            "lr": 0.1,
            "momentum": 0.5,
            "lr_network": 0.01,
            "width": 128,
            "depth": 3,
        }
        for dataset in _DC_DATASETS
        for size, (outer, inner) in _DC_LOOPS.items()
    }


def _published_dsa() -> dict[tuple[str, int], Values]:
    return {
        (dataset, size): {**values, "init": "real", "augmentation": augmentations(dataset)}
        for (dataset, size), values in _published_dc().items()
    }


def _published_dm() -> dict[tuple[str, int], Values]:
    return {
        (dataset, size): {
            "init": "real",
            "iterations": 20_000,
            "batch_real": 256,
            "lr": 10.0 if size >= 100 else 1.0,
            "momentum": 0.5,
            "width": 128,
            "depth": 3,
            "augmentation": augmentations(dataset),
        }
        for dataset, sizes in _DM_SIZES.items()
        for size in sizes
    }


PUBLISHED: dict[str, dict[tuple[str, int], Values]] = {
    "dm": _published_dm(),
    "dc": _published_dc(),
    "dsa": _published_dsa(),
}
"""Method -> data set and images per class -> fields."""

SOURCES = {
    "dm": _DC_CODE + "main_DM.py, and README for 100 images per class and more",
    "dc": _DC_CODE + "main.py, and get_loops of utils.py",
    "dsa": _DC_CODE + "main.py with --method DSA, and get_loops of utils.py",
}
"""Where a method's published numbers stand."""


def _smoke_dm(_dataset: str, _images_per_class: int) -> Values:
    return {}


def _smoke_dc(_dataset: str, images_per_class: int) -> Values:
    if images_per_class == 1:
        return {"iterations": 100, "outer_loops": 1, "inner_epochs": 1}
    return {}


def _smoke_dsa(dataset: str, images_per_class: int) -> Values:
    return {**_smoke_dc(dataset, images_per_class), "augmentation": augmentations(dataset)}


SMOKE: dict[str, Callable[[str, int], Values]] = {
    "dm": _smoke_dm,
    "dc": _smoke_dc,
    "dsa": _smoke_dsa,
}
"""Method -> data set and images per class -> fields other than the spec's own defaults."""


def preset_values(name: str, method: str, dataset: str, images_per_class: int) -> Values:
    """The fields that a preset sets.

    Raises:
        ValueError: nothing was published for this data set and size; says for which it was.
    """
    if name == "smoke":
        smoke = SMOKE.get(method)
        return {} if smoke is None else smoke(dataset, images_per_class)
    rows = PUBLISHED.get(method, {})
    if (dataset, images_per_class) not in rows:
        raise ValueError(
            f"preset: wanted smoke, or for published a data set and images_per_class that "
            f"{method} reports: {_listed(rows)}; got {dataset} with {images_per_class}"
        )
    return rows[dataset, images_per_class]


def _listed(rows: Mapping[tuple[str, int], Values]) -> str:
    sizes: dict[str, list[str]] = {}
    for dataset, size in rows:
        sizes.setdefault(dataset, []).append(str(size))
    return "; ".join(f"{dataset} {', '.join(own)}" for dataset, own in sizes.items()) or "none"


def resolved(spec: SpecT, dataset: str) -> SpecT:
    """A spec with its preset's numbers where the request gave none; then every field counts as set.

    Args:
        spec: as it came in; what was given is kept, nested objects as a whole.
        dataset: the name of the data set to distill.

    Raises:
        ValueError: the preset has nothing for this data set and size.
    """
    left = type(spec).model_fields.keys() - spec.model_fields_set
    if not left:
        return spec
    dumped = spec.model_dump()
    values = preset_values(spec.preset, dumped["method"], dataset, spec.images_per_class)
    filled = {name: value for name, value in values.items() if name in left}
    return type(spec).model_validate({**dumped, **filled})
