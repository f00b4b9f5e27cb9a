"""The numbers that a distillation takes where a request gives none, by method, data set and size.

`published` are those of the paper's own code, only where it reports results; `smoke` are ours, for
every data set, sized for two CPU cores: they show that a method works, not how well it can.
"""

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from ddcal_core.specs.backbone import ALL_AUGMENTATIONS, PRESETS_VERSION, BackboneSpec

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
# Images per class -> steps on the set, epochs matched, start epochs, image lr, lr_lr, first lr,
# images a step.
_MTT_ROWS = {
    ("cifar10", 1): (50, 2, 2, 100.0, 1e-7, 0.01, None),
    ("cifar10", 10): (30, 2, 20, 100.0, 1e-5, 0.001, None),
    ("cifar10", 50): (30, 2, 40, 1000.0, 1e-5, 0.001, None),
    ("cifar100", 1): (20, 3, 20, 1000.0, 1e-5, 0.01, None),
    ("cifar100", 10): (20, 2, 20, 1000.0, 1e-5, 0.01, None),
    ("cifar100", 50): (80, 2, 40, 1000.0, 1e-5, 0.01, 125),
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


def _published_mtt() -> dict[tuple[str, int], Values]:
    return {
        key: {
            "init": "real",
            "iterations": 5_000,
            "synthetic_steps": steps,
            "expert_epochs": ahead,
            "max_start_epoch": starts,
            "batch_synthetic": batch,
            "lr": lr,
            "momentum": 0.5,
            "lr_network": lr_network,
            "lr_lr": lr_lr,
            "width": 128,
            "depth": 3,
            "augmentation": ALL_AUGMENTATIONS,
        }
        for key, (steps, ahead, starts, lr, lr_lr, lr_network, batch) in _MTT_ROWS.items()
    }


def _published_rtp() -> dict[tuple[str, int], Values]:
    common = {
        "init": "noise",
        "iterations": 500_000,
        "inner_steps": 150,
        "lr_network": 0.01,
        "momentum_network": 0.9,
        "batch_real": 64,
        "lr": 0.1,
        "momentum": 0.5,
        "clip_norm": 2.0,
        "width": 128,
        "depth": 3,
    }
    bases = {"form": "bases", "n_bases": 16, "downscale": 2, "batch_per_class": 32}
    return {
        ("cifar10", 1): {**common, **bases},
        ("cifar10", 10): {**common, "form": "pixels", "batch_per_class": 10},
    }


PUBLISHED: dict[str, dict[tuple[str, int], Values]] = {
    "dm": _published_dm(),
    "dc": _published_dc(),
    "dsa": _published_dsa(),
    "mtt": _published_mtt(),
    "rtp": _published_rtp(),
}
"""Method -> data set and images per class -> fields."""

SOURCES = {
    "dm": _DC_CODE + "main_DM.py, and README for 100 images per class and more",
    "dc": _DC_CODE + "main.py, and get_loops of utils.py",
    "dsa": _DC_CODE + "main.py with --method DSA, and get_loops of utils.py",
    "mtt": "github.com/justincui03/dc_benchmark, commit 2a57711: methods/tm/readme.md, by MTT's "
    "author; ZCA (eps 0.1) but for cifar10 with 50 and cifar100 with 10 images per class; 100 "
    "experts",
    "rtp": "github.com/princetonvisualai/RememberThePast, commit f49e631: README; with bases 115 "
    "images a class are decoded of the numbers of one",
}
"""Where a method's published numbers stand."""


def _smoke_dm(dataset: str, _images_per_class: int) -> Values:
    # A third block on 8 x 8 pixels normalises squares of 2 x 2: too little is left to match.
    return {"depth": 2} if dataset == "digits" else {}


def _smoke_dc(dataset: str, images_per_class: int) -> Values:
    shape = _smoke_dm(dataset, images_per_class)
    if images_per_class == 1:
        return {**shape, "iterations": 100, "outer_loops": 1, "inner_epochs": 1}
    return shape


def _smoke_dsa(dataset: str, images_per_class: int) -> Values:
    return {**_smoke_dc(dataset, images_per_class), "augmentation": augmentations(dataset)}


def _smoke_rtp(dataset: str, images_per_class: int) -> Values:
    # Within a few minutes bases pay where pixels are fewest.
    shape = _smoke_dm(dataset, images_per_class)
    if images_per_class == 1:
        return {**shape, "batch_per_class": 5}
    return {**shape, "form": "pixels"}


# From version 2 on, with the step sizes that so few steps want where there are more images than one
# a class: the published ones leave a set next to its start.
_SECOND_STEPS: Mapping[str, Values] = {
    "dc": {"lr": 1.0},
    "dsa": {"lr": 0.3},
    "rtp": {"lr": 10.0, "clip_norm": 20.0, "iterations": 40},
}

SMOKE: dict[str, Callable[[str, int], Values]] = {
    "dm": _smoke_dm,
    "dc": _smoke_dc,
    "dsa": _smoke_dsa,
    "mtt": _smoke_dm,
    "rtp": _smoke_rtp,
}
"""Method -> data set and images per class -> fields other than the spec's own defaults."""


def preset_values(
    name: str, method: str, dataset: str, images_per_class: int, version: int = PRESETS_VERSION
) -> Values:
    """The fields that a preset sets.

    Raises:
        ValueError: nothing was published for this data set and size; says for which it was.
    """
    if name == "smoke":
        steps = _SECOND_STEPS.get(method, {}) if version > 1 and images_per_class > 1 else {}
        return {**SMOKE[method](dataset, images_per_class), **steps}
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
    version = spec.preset_version
    values = preset_values(spec.preset, dumped["method"], dataset, spec.images_per_class, version)
    filled = {name: value for name, value in values.items() if name in left}
    return type(spec).model_validate({**dumped, **filled})
