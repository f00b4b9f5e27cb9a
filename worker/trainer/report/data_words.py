"""Which classes, how long a tail, and what networks read: in a label and in sentences."""

from collections.abc import Sequence
from typing import assert_never

from ddcal_core.formats.manifests import Split
from ddcal_core.specs.spaces import InputSpaceSpec, PerImageZcaSpace, StandardSpace, ZcaSpace

MAX_LISTED = 12


def data_suffix(split: Split, space: InputSpaceSpec) -> str:
    """Give what a label has to add: "", or ", ZCA, long tail 0.01"."""
    tail = None if split.imbalance is None else f"long tail {split.imbalance:g}"
    return "".join(f", {word}" for word in (_space_label(space), tail) if word)


def _space_label(space: InputSpaceSpec) -> str:
    match space:
        case StandardSpace():
            return ""
        case ZcaSpace():
            return "ZCA"
        case PerImageZcaSpace():
            return "ZCA per image"
        case _:
            assert_never(space)


def data_sentences(
    split: Split, space: InputSpaceSpec, real_class_counts: Sequence[int] | None
) -> str:
    """Tell classes, long tail and input space, where they are not the plain ones.

    Args:
        split: of the data set.
        space: what networks read.
        real_class_counts: real training images of each class; None where that is not known.
    """
    return (
        _classes_sentence(split) + _tail_sentence(split, real_class_counts) + _space_sentence(space)
    )


def _classes_sentence(split: Split) -> str:
    classes = split.classes
    if classes is None:
        return ""
    listed = ", ".join(map(str, classes)) if len(classes) <= MAX_LISTED else "as its split lists"
    return f" Of the data set's classes {len(classes)} were taken, for test as well: {listed}."


def _tail_sentence(split: Split, counts: Sequence[int] | None) -> str:
    factor = split.imbalance
    if factor is None:
        return ""
    left = (
        f": {counts[0]:,} images of the first class to {counts[-1]:,} of the last" if counts else ""
    )
    return (
        f" The training images were then thinned out to a long tail of factor {factor:g} (Cui et "
        f"al., 2019){left}; validation and test images were not."
    )


def _space_sentence(space: InputSpaceSpec) -> str:
    match space:
        case StandardSpace():
            return ""
        case ZcaSpace(eps=eps):
            how, zero = f"by ZCA (eps {eps:g})", "the mean image"
        case PerImageZcaSpace(regularisation=regularisation):
            how = (
                "by ZCA after each image lost its own mean and length (regularisation "
                f"{regularisation:g})"
            )
            zero = "an image of one colour"
        case _:
            assert_never(space)
    return (
        f" Pixels were whitened {how}, fitted on the real training images; 0, what a mask sets a "
        f"pixel to, stands there for {zero}."
    )
