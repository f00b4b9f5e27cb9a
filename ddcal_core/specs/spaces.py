"""What networks read of an image: normalised pixels, or whitened ones (ZCA)."""

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from ddcal_core.specs.fields import Spec, members_of

MAX_WHITENED_FEATURES = 4_096


class StandardSpace(Spec):
    """(pixel - mean) / std, channel by channel, with the data set's own mean and std."""

    words: ClassVar[str] = "(pixel / 255 - mean) / std, channel by channel; 0 is the mean colour"
    way_back: ClassVar[str] = "images * std + mean, per channel; 0 black, 1 white"

    name: Literal["standard"]


class ZcaSpace(Spec):
    """ZCA whitening of pixels in [0, 1], as MTT has it: the way back to pixels exists.

    Each of the D = C H W features loses its mean over the training images; then the matrix
    U (S + eps)^(-1/2) U^T of their covariance U S U^T.
    """

    words: ClassVar[str] = (
        "(pixels / 255 - input_space.mean) @ input_space.matrix, each image a row of its C H W "
        "features; 0 is the mean image"
    )
    way_back: ClassVar[str] = (
        "numpy.linalg.solve(matrix, images.reshape(len(images), -1).T).T + mean, with "
        "input_space's; 0 black, 1 white"
    )

    name: Literal["zca"]
    eps: float = Field(0.1, gt=0, le=100, description="Added to each eigenvalue of the covariance.")


class PerImageZcaSpace(Spec):
    """ZCA whitening of images that lost their own mean and length, as KIP and RTP have it.

    Each image loses the mean of its features and is scaled to length 1 (brightness and contrast
    are gone for good); then the matrix U (S + regularisation mean(S))^(-1/2) U^T of their second
    moments U S U^T, around 0.
    """

    words: ClassVar[str] = (
        "x @ input_space.matrix, x each image as a row of its C H W features, less its own mean, "
        "divided by its length; 0 is an image of one colour"
    )
    way_back: ClassVar[str] = (
        "none: brightness and contrast are lost; numpy.linalg.solve(input_space.matrix, "
        "images.reshape(len(images), -1).T).T is the picture up to both"
    )

    name: Literal["zca_per_image"]
    regularisation: float = Field(
        0.1,
        gt=0,
        le=10_000,
        description="Share of the mean eigenvalue added to each; published: 0.1, for SVHN 100.",
    )


AnyInputSpace = StandardSpace | ZcaSpace | PerImageZcaSpace
INPUT_SPACES: Mapping[str, type[Spec]] = members_of(AnyInputSpace, "name")
"""The word in requests -> what can be asked of it."""
InputSpaceSpec = Annotated[
    AnyInputSpace,
    Field(
        discriminator="name",
        description=(
            "How pixels become network input. ZCA matrices are fitted on the training "
            "images that the validation split leaves, for images of at most "
            f"{MAX_WHITENED_FEATURES:,} features (channels x height x width), and stored "
            "with everything made in that space. Default: standard."
        ),
    ),
]
