"""The experts that MTT imitates."""

from pydantic import Field

from ddcal_core.specs.augmentations import Augmentation
from ddcal_core.specs.fields import Spec

MAX_EPOCHS = 1_000


class ExpertSpec(Spec):
    """Networks trained on real images, their parameters kept after each epoch: what MTT imitates.

    Plain SGD, no weight decay, a constant learning rate. Published: 100 experts, lr 0.01, no
    momentum, batches of 256, width 128, DSA's augmentations, whole epochs.
    """

    n_experts: int = Field(8, ge=1, le=1_000, description="Number of networks, one after another.")
    epochs: int = Field(
        6,
        ge=1,
        le=MAX_EPOCHS,
        description=(
            "Epochs of each expert. A snapshot is kept before training and after each "
            "epoch; MTT reads those up to max_start_epoch - 1 + expert_epochs."
        ),
    )
    images_per_epoch: int | None = Field(
        4_096,
        ge=1,
        le=100_000_000,
        description=(
            "Real images per epoch, drawn anew for each; all of them if there are fewer, "
            "or if null."
        ),
    )
    batch_size: int = Field(128, ge=1, le=100_000, description="Images per step of SGD.")
    lr: float = Field(0.02, gt=0, le=100, description="Learning rate, the same throughout.")
    momentum: float = Field(0.0, ge=0, lt=1, description="Momentum of SGD.")
    width: int = Field(32, ge=1, le=512, description="Channels of the ConvNet.")
    depth: int = Field(3, ge=1, le=6, description="Blocks of the ConvNet; each halves the image.")
    augmentation: Augmentation = ()
