"""What was probably meant by an unknown word: by the other words of the field, then by spelling.

Used for names of fields, for values, and for names of data sets alike.
"""

import re
from collections.abc import Iterable, Mapping
from difflib import get_close_matches

MAX_WORD, MAX_KNOWN = 64, 2_000
"""Longer words have no near spelling, and of more names the first are compared."""

OTHER_NAMES: Mapping[str, tuple[str, ...]] = {
    "arch": ("network",),
    "architecture": ("network",),
    "augment": ("augmentation",),
    "backbone": ("network",),
    "batch": ("batch_size", "batch_real"),
    "bs": ("batch_size", "batch_real"),
    "comment": ("notes",),
    "data": ("dataset",),
    "description": ("notes",),
    "epochs": ("iterations",),
    "eval": ("evaluate",),
    "ipc": ("images_per_class",),
    "iters": ("iterations", "epochs"),
    "iterations": ("epochs",),
    "label": ("name", "tags"),
    "labels": ("tags",),
    "learning_rate": ("lr",),
    "lr_img": ("lr",),
    "lr_net": ("lr_network",),
    "lr_teacher": ("lr_network",),
    "mask_ratio": ("mask.ratio",),
    "masking_ratio": ("mask.ratio",),
    "model": ("network",),
    "n_epochs": ("epochs", "iterations"),
    "net": ("network",),
    "niter": ("iterations",),
    "num_epochs": ("epochs", "iterations"),
    "num_eval": ("n_seeds",),
    "seeds": ("n_seeds", "seed"),
    "steps": ("iterations", "epochs"),
    "temperature_scaling": ("calibrate",),
    "timeout": ("timeout_seconds",),
    "title": ("name",),
    "val_size": ("n_validation",),
    "wd": ("weight_decay",),
}
"""Other words for a field, each with ours, a field of an object below as OBJECT.FIELD."""

OTHER_VALUES: Mapping[str, str] = {
    "ce": "cross_entropy",
    "coreset": "random",
    "distilled_set": "distilled",
    "distribution_matching": "dm",
    "gradient_matching": "dc",
    "ensemble": "ets",
    "ensemble_temperature_scaling": "ets",
    "isotonic_regression": "isotonic",
    "masked_temperature_scaling": "mts",
    "real": "full",
    "synthetic": "training_set",
    "temp_scaling": "ts",
    "temperature": "ts",
    "temperature_scaling": "ts",
    "trajectory_matching": "mtt",
    "uncalibrated": "none",
    "val": "validation",
    "vector_scaling": "vector",
    "whitened": "zca",
}
"""Other words for a value."""


def nearest(word: object, known: Iterable[str], *, cutoff: float = 0.6) -> str | None:
    """The known word that was probably meant; None where none is near.

    Args:
        word: what was given; only text has a neighbour.
        known: what there is.
        cutoff: how alike two spellings have to be, 0 to 1 (difflib's ratio).
    """
    if not isinstance(word, str) or len(word) > MAX_WORD:
        return None
    spelt = {_plain(one): one for one in list(known)[:MAX_KNOWN]}
    asked = _plain(word)
    if OTHER_VALUES.get(asked) in spelt.values():
        return OTHER_VALUES[asked]
    found = get_close_matches(asked, spelt, n=1, cutoff=cutoff)
    return spelt[found[0]] if found else None


def did_you_mean(word: object, known: Iterable[str]) -> str:
    """The end of a message that suggests a known word; empty where none is near."""
    found = nearest(word, known)
    return "" if found is None else f'; did you mean "{found}"?'


def _plain(word: str) -> str:
    """A word without what spellings differ in most: CIFAR-10 is cifar10, ResNet_18 resnet18."""
    spelt = re.sub(r"[\s-]+", "_", word.strip().lower())
    return re.sub(r"_(?=[0-9])", "", spelt)
