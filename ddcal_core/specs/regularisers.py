"""What changes the images that networks learn from, beside the mask of MDT."""

from collections.abc import Mapping
from typing import Annotated, Literal, assert_never

from pydantic import Field

from ddcal_core.specs.fields import Spec, members_of


class Mixup(Spec):
    """Images and labels blended in pairs, share from Beta(alpha, alpha).

    Source: Zhang et al., ICLR 2018.
    """

    name: Literal["mixup"]
    alpha: float = Field(
        0.2, gt=0, le=100, description="0.2 as in calibration papers; the original code has 1.0."
    )


class Cutmix(Spec):
    """A rectangle of each image replaced by another's, labels blended by area.

    The share that is kept is drawn from Beta(alpha, alpha), the centre anywhere in the image; what
    reaches over the edge is cut off, and the labels follow the area that is left.
    Source: Yun et al., ICCV 2019.
    """

    name: Literal["cutmix"]
    alpha: float = Field(1.0, gt=0, le=100, description="1.0 as in the paper.")


class Cutout(Spec):
    """A square of each image set to 0, the mean colour, around a pixel of its own.

    It may reach over the edge. Source: DeVries and Taylor, arXiv 1708.04552.
    """

    name: Literal["cutout"]
    side: float = Field(
        0.5,
        gt=0,
        lt=1,
        description=(
            "Side of the square, as a share of the image's: 0.5 as in the paper on CIFAR-10."
        ),
    )


class InputDropout(Spec):
    """Numbers of each image set to 0 by chance, each channel on its own, the others scaled up.

    Unlike the mask of MDT: kept numbers are divided by 1 - rate.
    Source: Srivastava et al., JMLR 2014.
    """

    name: Literal["input_dropout"]
    rate: float = Field(0.2, gt=0, lt=1, description="Share set to 0: 0.2 as in the paper.")


AnyRegulariser = Mixup | Cutmix | Cutout | InputDropout
REGULARISERS: Mapping[str, type[Spec]] = members_of(AnyRegulariser, "name")
"""The word in requests -> what can be asked of it."""
Regulariser = Annotated[AnyRegulariser, Field(discriminator="name")]


def regulariser_words(regulariser: AnyRegulariser | None) -> str:
    """Name what images went through, with its strength; "" where it was nothing."""
    match regulariser:
        case None:
            return ""
        case Mixup(alpha=alpha):
            return f"mixup, α = {alpha:g}"
        case Cutmix(alpha=alpha):
            return f"cutmix, α = {alpha:g}"
        case Cutout(side=side):
            return f"cutout of {side:g} of the side"
        case InputDropout(rate=rate):
            return f"{100 * rate:g}\u202f% input dropout"
        case _:
            assert_never(regulariser)
