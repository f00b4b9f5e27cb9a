"""Which classes, how long a tail, and what networks read: in a label and in sentences."""

from collections.abc import Mapping
from typing import Any

MAX_LISTED = 12
_SPACES = {"zca": "ZCA", "zca_per_image": "ZCA per image"}


def data_suffix(config: Mapping[str, Any]) -> str:
    """Give what a label has to add: "", or ", ZCA, long tail 0.01".

    Args:
        config: of a model; one from before there were splits of classes has nothing to add.
    """
    space = _SPACES.get(config.get("input_space", {}).get("name", "standard"))
    imbalance = config["split"].get("imbalance")
    words = [space, None if imbalance is None else f"long tail {imbalance:g}"]
    return "".join(f", {word}" for word in words if word)


def data_sentences(training_set: Mapping[str, Any]) -> str:
    """Tell classes, long tail and input space, where they are not the plain ones.

    Args:
        training_set: of report.json: `split`, `input_space` and `real_class_counts`.
    """
    split, space = training_set["split"], training_set["input_space"]
    return (
        _classes_sentence(split)
        + _tail_sentence(split, training_set["real_class_counts"])
        + _space_sentence(space)
    )


def _classes_sentence(split: Mapping[str, Any]) -> str:
    classes = split.get("classes")
    if classes is None:
        return ""
    listed = ", ".join(map(str, classes)) if len(classes) <= MAX_LISTED else "as its split lists"
    return f" Of the data set's classes {len(classes)} were taken, for test as well: {listed}."


def _tail_sentence(split: Mapping[str, Any], counts: list[int] | None) -> str:
    factor = split.get("imbalance")
    if factor is None:
        return ""
    left = (
        f": {counts[0]:,} images of the first class to {counts[-1]:,} of the last" if counts else ""
    )
    return (
        f" The training images were then thinned out to a long tail of factor {factor:g} (Cui et "
        f"al., 2019){left}; validation and test images were not."
    )


def _space_sentence(space: Mapping[str, Any]) -> str:
    match space["name"]:
        case "zca":
            how, zero = f"by ZCA (eps {space['eps']:g})", "the mean image"
        case "zca_per_image":
            how = (
                "by ZCA after each image lost its own mean and length (regularisation "
                f"{space['regularisation']:g})"
            )
            zero = "an image of one colour"
        case _:
            return ""
    return (
        f" Pixels were whitened {how}, fitted on the real training images; 0, what a mask sets a "
        f"pixel to, stands there for {zero}."
    )
