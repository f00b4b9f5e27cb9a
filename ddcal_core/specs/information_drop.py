"""What is taken out of a training set before a network sees it (arXiv 2307.12463, section 3).

The paper drops as much information from distilled as from real images and compares what is left of
the accuracy; it leaves open what is dropped how, hence the kinds here.
"""

from collections.abc import Mapping
from typing import Annotated, Literal, assert_never

from pydantic import Field

from ddcal_core.specs.fields import Spec, members_of

MAX_COMPONENT_SIDE = 4_096
"""Smaller side of the matrix of images that is decomposed, at most."""

Share = Annotated[
    float, Field(ge=0, lt=1, description="Share dropped, in [0, 1); 0 drops nothing.")
]


class DroppedPixels(Spec):
    """Pixels of each image, by chance, set to 0 in network-input space in all channels."""

    what: Literal["pixels"]
    share: Share


class DroppedPatches(Spec):
    """Square patches of each image, by chance, set to 0 in network-input space."""

    what: Literal["patches"]
    share: Share
    patch_size: int = Field(
        4, ge=1, le=1_024, description="Side of a patch in pixels; patches tile the image."
    )


class DroppedComponents(Spec):
    """Singular components of the matrix with one flattened image per row, not centred.

    It has min(N, D) of them, N images of D numbers: the share is counted, not weighed by energy.
    """

    what: Literal["components"]
    share: Share
    which: Literal["smallest", "largest", "random"] = Field(
        "smallest", description="By singular value, or by chance for each network."
    )


class DroppedImages(Spec):
    """Whole images, by chance, the same share of each class; one of each class stays."""

    what: Literal["images"]
    share: Share


AnyDrop = DroppedPixels | DroppedPatches | DroppedComponents | DroppedImages
DROPS: Mapping[str, type[Spec]] = members_of(AnyDrop, "what")
"""The word in requests -> what can be asked of it."""
Drop = Annotated[AnyDrop, Field(discriminator="what")]


def drop_words(drop: AnyDrop | None) -> str:
    """Name what was dropped, with its share; "" where it was nothing."""
    if drop is None:
        return ""
    match drop:
        case DroppedPixels():
            what = "pixels"
        case DroppedPatches(patch_size=size):
            what = f"patches of {size} × {size}"
        case DroppedComponents(which="random"):
            what = "random components"
        case DroppedComponents(which=which):
            what = f"{which} components"
        case DroppedImages():
            what = "images"
        case _:
            assert_never(drop)
    return f"{100 * drop.share:g}\u202f% of {what} dropped"
