"""The networks of this field, in their small-image forms."""

from collections import OrderedDict

import torch
from torch import Tensor, nn

from ddcal_core.specs import BackboneSpec, DatasetFacts, TrainSpec


class MeanPool(nn.Module):
    """Mean over squares of 2 x 2 pixels; an odd last row or column is left out."""

    def forward(self, images: Tensor) -> Tensor:
        """(N, C, H, W) to (N, C, H // 2, W // 2)."""
        # Sums of slices: on a CPU four times as fast as avg_pool2d.
        rows = images[:, :, :-1:2] + images[:, :, 1::2]
        return (rows[..., :-1:2] + rows[..., 1::2]) * 0.25


class ConvNet(nn.Module):
    """The ConvNet of dataset distillation: blocks of convolution, norm, ReLU and pooling.

    Each of the `depth` blocks is a 3 x 3 convolution to `width` channels, instance normalisation
    with scale and shift (a group norm of one channel a group), ReLU, and 2 x 2 average pooling;
    one linear layer follows. Grey images of 28 x 28 are padded to 32 x 32 by the first
    convolution. No layer differs between training and evaluation, none mixes images.

    The parameters are not initialised: call `initialise`.

    Args:
        n_channels: C of the images.
        n_classes: K, number of logits.
        image_size: (H, W) of the images.
        width: channels of each block.
        depth: number of blocks; each halves the image.

    Raises:
        ValueError: the image is too small to be halved `depth` times.

    Source:
        Gidaris and Komodakis, CVPR 2018; used so by Zhao et al., ICLR 2021 (DC) and after.
    """

    def __init__(
        self, n_channels: int, n_classes: int, image_size: tuple[int, int], width: int, depth: int
    ) -> None:
        super().__init__()
        padding = 3 if n_channels == 1 and image_size == (28, 28) else 1
        height, breadth = (side + 2 * (padding - 1) for side in image_size)
        blocks: OrderedDict[str, nn.Module] = OrderedDict()
        for block in range(depth):
            blocks[f"conv{block}"] = nn.Conv2d(
                n_channels, width, kernel_size=3, padding=padding, device="meta"
            )
            blocks[f"norm{block}"] = nn.GroupNorm(width, width)
            blocks[f"relu{block}"] = nn.ReLU()
            blocks[f"pool{block}"] = MeanPool()
            n_channels, padding = width, 1
            height, breadth = height // 2, breadth // 2
        if min(height, breadth) < 1:
            raise ValueError(
                f"images of {image_size[0]} x {image_size[1]} cannot be halved {depth} times; "
                "a smaller depth is needed"
            )
        self.features = nn.Sequential(blocks)
        self.classifier = nn.Linear(n_channels * height * breadth, n_classes, device="meta")
        # By way of the meta device PyTorch's global generator draws nothing.
        self.to_empty(device="cpu")

    def embed(self, images: Tensor) -> Tensor:
        """What the linear layer sees.

        Args:
            images: (N, C, H, W), network-input space.

        Returns:
            (N, F), F = width times the pixels left after pooling; not negative.
        """
        features: Tensor = self.features(images)
        return features.flatten(1)

    def forward(self, images: Tensor) -> Tensor:
        """Logits (N, K) of images (N, C, H, W) in network-input space."""
        logits: Tensor = self.classifier(self.embed(images))
        return logits


def initialise(network: nn.Module, generator: torch.Generator) -> None:
    """Draw fresh parameters in place, from PyTorch's default distributions.

    Convolution and linear layers: weights and biases uniform on +-1 / sqrt(fan in); group norms:
    scale 1, shift 0. Nothing is drawn from PyTorch's global generator.

    Args:
        network: of convolution, linear and group norm layers, on any device.
        generator: a CPU generator; layers draw in their order, weight before bias.

    Raises:
        TypeError: another kind of layer has parameters.
    """
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            _draw_uniform(module, generator)
        elif isinstance(module, nn.GroupNorm):
            module.reset_parameters()
        elif next(module.parameters(recurse=False), None) is not None:
            raise TypeError(f"no initial distribution is known for {type(module).__name__}")


def _draw_uniform(layer: nn.Conv2d | nn.Linear, generator: torch.Generator) -> None:
    bound = float(layer.weight[0].numel()) ** -0.5
    for parameter in (layer.weight, layer.bias):
        if parameter is not None:
            drawn = torch.empty(parameter.shape).uniform_(-bound, bound, generator=generator)
            with torch.no_grad():
                parameter.copy_(drawn)


def build_network(
    spec: TrainSpec | BackboneSpec, facts: DatasetFacts, generator: torch.Generator
) -> ConvNet:
    """An initialised ConvNet of a spec's width and depth for a data set.

    Args:
        spec: says width and depth.
        facts: say image shape and number of classes.
        generator: a CPU generator for the parameters.

    Returns:
        The network, float32, on the CPU.

    Raises:
        ValueError: the images are too small for the depth.
    """
    n_channels, height, width = facts.image_shape
    network = ConvNet(n_channels, facts.n_classes, (height, width), spec.width, spec.depth)
    initialise(network, generator)
    return network
