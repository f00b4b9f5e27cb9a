"""The ConvNet of dataset distillation."""

from dataclasses import dataclass

from torch import nn

from ddcal_core.networks.layers import (
    META,
    Network,
    activation_layer,
    first_padding,
    norm_layer,
    padded_size,
    pooling_layer,
    sequence,
)
from ddcal_core.specs.networks import Activation, Norm, Pooling


@dataclass(frozen=True)
class BlockLayers:
    """What follows the convolution in each block of a ConvNet; see the makers in `layers`."""

    norm: Norm = "instance"
    activation: Activation = "relu"
    pooling: Pooling = "avg"


AS_PUBLISHED = BlockLayers()


class ConvNet(Network):
    """The ConvNet of dataset distillation: blocks of convolution, norm, activation and pooling.

    Each of the `depth` blocks is a 3 x 3 convolution to `width` channels, a normalisation with
    scale and shift, the activation, and 2 x 2 pooling; one linear layer follows. As published:
    instance norm (a group norm of one channel a group), ReLU, average pooling. Grey images of
    28 x 28 are padded to 32 x 32 by the first convolution. But for batch norm no layer differs
    between training and evaluation, and none mixes images.

    Args:
        n_channels: C of the images.
        n_classes: K, number of logits.
        image_size: (H, W) of the images.
        width: channels of each block.
        depth: number of blocks; each halves the image, unless pooling is none.
        layers: norm, activation and pooling of the blocks; with no pooling the linear layer sees
            every pixel.

    Raises:
        ValueError: the image is too small to be halved `depth` times.

    Source:
        Gidaris and Komodakis, CVPR 2018; used so, and with these options, by Zhao et al., ICLR
        2021 (DC) and after. Their layer norm has a scale and a shift each pixel, ours each channel.
    """

    def __init__(
        self,
        n_channels: int,
        n_classes: int,
        image_size: tuple[int, int],
        width: int,
        depth: int,
        layers: BlockLayers = AS_PUBLISHED,
    ) -> None:
        height, breadth = padded_size(n_channels, image_size)
        if layers.pooling != "none":
            height, breadth = height >> depth, breadth >> depth
        if min(height, breadth) < 1:
            raise ValueError(
                f"images of {image_size[0]} x {image_size[1]} cannot be halved {depth} times; "
                "choose a smaller depth"
            )
        n_in, padding = n_channels, first_padding(3, n_channels, image_size)
        blocks: dict[str, nn.Module | None] = {}
        with META:
            for block in range(depth):
                blocks[f"conv{block}"] = nn.Conv2d(n_in, width, 3, padding=padding)
                blocks[f"norm{block}"] = norm_layer(layers.norm, width)
                blocks[f"activation{block}"] = activation_layer(layers.activation)
                blocks[f"pool{block}"] = pooling_layer(layers.pooling)
                n_in, padding = width, 1
            features = sequence(**blocks)
        super().__init__(features, width * height * breadth, n_classes)
