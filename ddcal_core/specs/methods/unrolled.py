"""What the methods share that differentiate through training."""

from typing import Annotated, Literal

from pydantic import Field

Labels = Annotated[
    Literal["hard", "soft"],
    Field(
        description="hard: an image's class. soft: the softmax of K learned numbers an image, at "
        "the start 0.9 for its class."
    ),
]

MaskRedraw = Annotated[
    Literal["iteration", "step"],
    Field(
        description="Whether all inner steps of an iteration see the set under one mask, or each "
        "under its own."
    ),
]
