"""What the methods share that differentiate through training."""

from typing import Annotated, Literal

from pydantic import Field

Labels = Annotated[
    Literal["hard", "soft"],
    Field(
        description=(
            "hard: the image's class. soft: the softmax of K learned numbers per image, at "
            "first 0.9 for its class."
        )
    ),
]

MaskRedraw = Annotated[
    Literal["iteration", "step"],
    Field(
        description=(
            "iteration: all inner steps of an iteration see the set under one mask. step: "
            "each under a mask of its own."
        )
    ),
]
