"""AlexNet, VGG-11 and ResNets as this field has them: for small images, with one linear layer.

A layer halves the image only as long as a norm after it still sees two pixels a side (the last
pooling: as long as one is left), so that each network can be built from 4 x 4 pixels on.
"""

import torch
from torch import Tensor, nn

from ddcal_core.networks.layers import (
    META,
    MeanOfPixels,
    Network,
    first_padding,
    norm_layer,
    padded_size,
    sequence,
)
from ddcal_core.specs.networks import Norm

VGG_BLOCKS = ((64,), (128,), (256, 256), (512, 512), (512, 512))
RESNET_STAGES = ((64, 1), (128, 2), (256, 2), (512, 2))


class AlexNet(Network):
    """AlexNet for small images: five convolutions, three max poolings, one linear layer.

    5 x 5 to 128 channels, pooling, 5 x 5 to 192, pooling, 3 x 3 to 256, 192 and 192, pooling; a
    ReLU after each convolution, no norm. Grey images of 28 x 28 are padded to 32 x 32. On CIFAR-10
    it has 1,872,202 parameters.

    Args:
        n_channels: C of the images.
        n_classes: K, number of logits.
        image_size: (H, W) of the images, each at least 1; poolings that would leave nothing are
            left out.

    Source:
        Krizhevsky et al., NeurIPS 2012, in the form of Zhao et al., ICLR 2021 (DC), for small
        images.
    """

    def __init__(self, n_channels: int, n_classes: int, image_size: tuple[int, int]) -> None:
        height, breadth = padded_size(n_channels, image_size)
        blocks = ((128, 5, True), (192, 5, True), (256, 3, False), (192, 3, False), (192, 3, True))
        n_in, padding = n_channels, first_padding(5, n_channels, image_size)
        layers: dict[str, nn.Module | None] = {}
        with META:
            for k, (width, kernel_size, is_pooled) in enumerate(blocks):
                padding = kernel_size // 2 if k else padding
                layers[f"conv{k}"] = nn.Conv2d(n_in, width, kernel_size, padding=padding)
                layers[f"relu{k}"] = nn.ReLU()
                if is_pooled and min(height, breadth) > 1:
                    layers[f"pool{k}"] = nn.MaxPool2d(2)
                    height, breadth = height // 2, breadth // 2
                n_in = width
            features = sequence(**layers)
        super().__init__(features, n_in * height * breadth, n_classes)


class Vgg11(Network):
    """VGG-11 for small images: eight 3 x 3 convolutions in five blocks, one linear layer.

    Blocks of 64, 128, 256 256, 512 512 and 512 512 channels, a norm and a ReLU after each
    convolution, max pooling after each block. The linear layer sees the mean over the pixels left
    (of 32 x 32 images one pixel). Grey images of 28 x 28 are padded to 32 x 32. With instance norm
    it has 9,231,114 parameters on CIFAR-10.

    Args:
        n_channels: C of the images.
        n_classes: K, number of logits.
        image_size: (H, W) of the images; poolings that would leave a norm a single pixel are left
            out.
        norm: see `norm_layer`.

    Source:
        Simonyan and Zisserman, ICLR 2015, in the form of Zhao et al., ICLR 2021 (DC).
    """

    def __init__(
        self, n_channels: int, n_classes: int, image_size: tuple[int, int], norm: Norm = "instance"
    ) -> None:
        side = min(padded_size(n_channels, image_size))
        n_in, padding = n_channels, first_padding(3, n_channels, image_size)
        layers: dict[str, nn.Module | None] = {}
        with META:
            for block, widths in enumerate(VGG_BLOCKS):
                for k, width in enumerate(widths):
                    name = f"{block}_{k}"
                    layers[f"conv{name}"] = nn.Conv2d(n_in, width, 3, padding=padding)
                    layers[f"norm{name}"] = norm_layer(norm, width)
                    layers[f"relu{name}"] = nn.ReLU()
                    n_in, padding = width, 1
                is_last = block == len(VGG_BLOCKS) - 1
                if side // 2 >= (1 if is_last else 2):
                    layers[f"pool{block}"] = nn.MaxPool2d(2)
                    side //= 2
            features = sequence(**layers, mean=MeanOfPixels())
        super().__init__(features, n_in, n_classes)


class ResNet18(Network):
    """ResNet-18 for small images: a 3 x 3 convolution, four stages of two blocks, one linear layer.

    Stages of 64, 128, 256 and 512 channels, all but the first halving the image by stride 2; no
    pooling before them. The linear layer sees the mean over the pixels left. Grey images of
    28 x 28 are padded to 32 x 32. With instance or batch norm it has 11,173,962 parameters on
    CIFAR-10.

    Args:
        n_channels: C of the images.
        n_classes: K, number of logits.
        image_size: (H, W) of the images; strides that would leave a norm a single pixel are 1.
        norm: see `norm_layer`; with none the convolutions have biases.

    Source:
        He et al., CVPR 2016, section 4.2, in the form of Zhao et al., ICLR 2021 (DC).
    """

    def __init__(
        self, n_channels: int, n_classes: int, image_size: tuple[int, int], norm: Norm = "instance"
    ) -> None:
        features, n_out = _residual(n_channels, image_size, norm, (2, 2, 2, 2), ResidualBlock)
        super().__init__(features, n_out, n_classes)


class ResNet50(Network):
    """ResNet-50 for small images: ResNet-18's stages of 3, 4, 6 and 3 bottleneck blocks.

    Four times as many channels leave each stage: 256, 512, 1,024 and 2,048. With instance or batch
    norm it has 23,520,842 parameters on CIFAR-10.

    Args:
        n_channels: C of the images.
        n_classes: K, number of logits.
        image_size: (H, W) of the images; strides that would leave a norm a single pixel are 1.
        norm: see `norm_layer`; with none the convolutions have biases.

    Source:
        He et al., CVPR 2016, with the stride in the 3 x 3 convolution as torchvision has it, and
        the stem of `ResNet18`.
    """

    def __init__(
        self, n_channels: int, n_classes: int, image_size: tuple[int, int], norm: Norm = "instance"
    ) -> None:
        features, n_out = _residual(n_channels, image_size, norm, (3, 4, 6, 3), BottleneckBlock)
        super().__init__(features, n_out, n_classes)


def _residual(
    n_channels: int,
    image_size: tuple[int, int],
    norm: Norm,
    n_blocks: tuple[int, ...],
    block: type["ResidualBlock | BottleneckBlock"],
) -> tuple[nn.Sequential, int]:
    """The layers of a ResNet before its linear one, and how many channels they leave."""
    side = min(padded_size(n_channels, image_size))
    n_in = RESNET_STAGES[0][0]
    with META:
        layers: dict[str, nn.Module | None] = {
            "conv": nn.Conv2d(
                n_channels,
                n_in,
                3,
                padding=first_padding(3, n_channels, image_size),
                bias=norm == "none",
            ),
            "norm": norm_layer(norm, n_in),
            "relu": nn.ReLU(),
        }
        for stage, ((width, wanted), n_of_stage) in enumerate(
            zip(RESNET_STAGES, n_blocks, strict=True)
        ):
            stride = wanted if (side + wanted - 1) // wanted >= 2 else 1
            side = (side + stride - 1) // stride
            n_out = width * block.expansion
            for place in range(n_of_stage):
                made = block(n_in, n_out, 1 if place else stride, norm)
                layers[f"block{stage}_{place}"] = made
                n_in = n_out
        return sequence(**layers, mean=MeanOfPixels()), n_in


class ResidualBlock(nn.Module):
    """relu(shortcut(x) + norm(conv(relu(norm(conv(x)))))), 3 x 3 convolutions.

    The shortcut is x itself, or where shapes differ a 1 x 1 convolution and a norm.

    Args:
        n_in: channels that come in.
        n_out: channels that go out.
        stride: of the first convolution and the shortcut's.
        norm: see `norm_layer`.
    """

    expansion = 1

    def __init__(self, n_in: int, n_out: int, stride: int, norm: Norm) -> None:
        super().__init__()
        has_bias = norm == "none"
        self.path = sequence(
            conv0=nn.Conv2d(n_in, n_out, 3, stride=stride, padding=1, bias=has_bias),
            norm0=norm_layer(norm, n_out),
            relu0=nn.ReLU(),
            conv1=nn.Conv2d(n_out, n_out, 3, padding=1, bias=has_bias),
            norm1=norm_layer(norm, n_out),
        )
        self.shortcut = _shortcut(n_in, n_out, stride, norm)

    def forward(self, images: Tensor) -> Tensor:
        """(N, n_in, H, W) to (N, n_out, ceil(H / stride), ceil(W / stride))."""
        return torch.relu(self.shortcut(images) + self.path(images))


class BottleneckBlock(nn.Module):
    """relu(shortcut(x) + path(x)): 1 x 1 to a quarter of the channels, 3 x 3, 1 x 1 back.

    A norm after each convolution, a ReLU after the first two; the shortcut as in `ResidualBlock`.

    Args:
        n_in: channels that come in.
        n_out: channels that go out, a multiple of 4.
        stride: of the 3 x 3 convolution and the shortcut's.
        norm: see `norm_layer`.
    """

    expansion = 4

    def __init__(self, n_in: int, n_out: int, stride: int, norm: Norm) -> None:
        super().__init__()
        has_bias, width = norm == "none", n_out // self.expansion
        self.path = sequence(
            conv0=nn.Conv2d(n_in, width, 1, bias=has_bias),
            norm0=norm_layer(norm, width),
            relu0=nn.ReLU(),
            conv1=nn.Conv2d(width, width, 3, stride=stride, padding=1, bias=has_bias),
            norm1=norm_layer(norm, width),
            relu1=nn.ReLU(),
            conv2=nn.Conv2d(width, n_out, 1, bias=has_bias),
            norm2=norm_layer(norm, n_out),
        )
        self.shortcut = _shortcut(n_in, n_out, stride, norm)

    def forward(self, images: Tensor) -> Tensor:
        """(N, n_in, H, W) to (N, n_out, ceil(H / stride), ceil(W / stride))."""
        return torch.relu(self.shortcut(images) + self.path(images))


def _shortcut(n_in: int, n_out: int, stride: int, norm: Norm) -> nn.Sequential:
    if stride == 1 and n_in == n_out:
        return sequence()
    return sequence(
        conv=nn.Conv2d(n_in, n_out, 1, stride=stride, bias=norm == "none"),
        norm=norm_layer(norm, n_out),
    )
