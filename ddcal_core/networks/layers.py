"""Layers of the networks, and what all networks share."""

from collections import OrderedDict
from collections.abc import Callable
from typing import Any, assert_never

import torch
from torch import Tensor, nn

from ddcal_core.networks.instance_norm import InstanceNorm
from ddcal_core.specs.networks import NORM_GROUPS, Activation, Norm, Pooling

META = torch.device("meta")
"""Where layers are made: by way of it PyTorch's global generator draws nothing."""


def _mean_of_squares(images: Tensor) -> Tensor:
    # Sums of slices: on a CPU four times as fast as avg_pool2d.
    rows = images[:, :, :-1:2] + images[:, :, 1::2]
    return (rows[..., :-1:2] + rows[..., 1::2]) * 0.25


class _PooledMean(torch.autograd.Function):
    """Mean over squares of images of shape (N, C, H, W), its gradient written in one pass.

    That of the slices takes five.
    """

    @staticmethod
    def forward(images: Tensor) -> Tensor:
        return _mean_of_squares(images)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor], output: Tensor) -> None:  # noqa: ANN401, ARG004
        ctx.size = inputs[0].shape[2:]

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:  # noqa: ANN401
        return _spread(gradients[0], ctx.size)


class _SpreadMean(torch.autograd.Function):
    """Each pixel as a quarter on its square of 2 x 2: what `_PooledMean` is transposed."""

    @staticmethod
    def forward(pooled: Tensor, size: tuple[int, int]) -> Tensor:
        n_images, n_channels, height, width = pooled.shape
        quarter = (pooled * 0.25)[:, :, :, None, :, None]
        squares = quarter.expand(-1, -1, -1, 2, -1, 2)
        spread = squares.reshape(n_images, n_channels, 2 * height, 2 * width)
        odd = (0, size[1] - 2 * width, 0, size[0] - 2 * height)
        return nn.functional.pad(spread, odd) if any(odd) else spread

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:  # noqa: ANN401
        """Keep nothing: it is linear."""

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:  # noqa: ANN401, ARG004
        return _pooled(gradients[0]), None


_pooled: Callable[[Tensor], Tensor] = _PooledMean.apply
_spread: Callable[[Tensor, tuple[int, int]], Tensor] = _SpreadMean.apply


class MeanPool(nn.Module):
    """Mean over squares of 2 x 2 pixels; an odd last row or column is left out."""

    def forward(self, images: Tensor) -> Tensor:
        """(N, C, H, W) to (N, C, H // 2, W // 2)."""
        if images.requires_grad and torch.is_grad_enabled():
            return _pooled(images)
        return _mean_of_squares(images)


class MeanOfPixels(nn.Module):
    """Mean over all pixels of each channel."""

    def forward(self, images: Tensor) -> Tensor:
        """(N, C, H, W) to (N, C)."""
        return images.mean((2, 3))


class BatchNorm(nn.BatchNorm2d):
    """Batch normalisation that also takes a batch of one value a channel.

    In training each channel is normalised by the batch's own mean and variance, and a tenth of
    these goes into the running statistics, which evaluation normalises by. A batch of a single
    image of one pixel has no variance: it is normalised by the running statistics, and adds
    nothing to them.

    After k steps 0.9^k of the statistics is still their beginning, mean 0 and variance 1: a network
    trained for a few dozen steps alone is not yet what evaluation sees.
    """

    def forward(self, images: Tensor) -> Tensor:
        """(N, C, H, W), N >= 1, to the same shape."""
        if self.training and images.shape[0] * images.shape[2] * images.shape[3] == 1:
            return nn.functional.batch_norm(
                images, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps
            )
        normalised: Tensor = super().forward(images)
        return normalised


def norm_layer(norm: Norm, n_channels: int) -> nn.Module | None:
    """The normalisation of one layer, each with a scale and a shift a channel.

    `instance` is a group norm of one channel a group, `layer` one of a single group, over all
    channels and pixels of an image.
    """
    match norm:
        case "instance":
            return InstanceNorm(n_channels)
        case "batch":
            return BatchNorm(n_channels)
        case "group":
            return nn.GroupNorm(NORM_GROUPS, n_channels)
        case "layer":
            return nn.GroupNorm(1, n_channels)
        case "none":
            return None
        case _:
            assert_never(norm)


def activation_layer(activation: Activation) -> nn.Module:
    """The function after each norm; a leaky ReLU has a slope of 0.01 below 0."""
    match activation:
        case "relu":
            return nn.ReLU()
        case "leaky_relu":
            return nn.LeakyReLU()
        case "sigmoid":
            return nn.Sigmoid()
        case "swish":
            return nn.SiLU()
        case _:
            assert_never(activation)


def pooling_layer(pooling: Pooling) -> nn.Module | None:
    """What halves an image; an odd last row or column is left out."""
    match pooling:
        case "avg":
            return MeanPool()
        case "max":
            return nn.MaxPool2d(2)
        case "none":
            return None
        case _:
            assert_never(pooling)


def sequence(**layers: nn.Module | None) -> nn.Sequential:
    """One layer after the other, those that are None left out."""
    return nn.Sequential(
        OrderedDict((name, layer) for name, layer in layers.items() if layer is not None)
    )


def first_padding(kernel_size: int, n_channels: int, image_size: tuple[int, int]) -> int:
    """How far the first convolution pads: grey 28 x 28 images to 32 x 32, others to themselves."""
    is_digit = n_channels == 1 and image_size == (28, 28)
    return kernel_size // 2 + (2 if is_digit else 0)


def padded_size(n_channels: int, image_size: tuple[int, int]) -> tuple[int, int]:
    """(H, W) after the first convolution; see `first_padding`."""
    extra = 2 * first_padding(1, n_channels, image_size)
    return image_size[0] + extra, image_size[1] + extra


class Network(nn.Module):
    """Features and one linear layer on them.

    Parameters and buffers hold nothing yet: call `initialise`, or load them.

    Args:
        features: maps images (N, C, H, W) to (N, F), or to what flattens to that; may be on the
            meta device.
        n_features: F.
        n_classes: K, number of logits.
    """

    def __init__(self, features: nn.Module, n_features: int, n_classes: int) -> None:
        super().__init__()
        self.features = features
        self.classifier = nn.Linear(n_features, n_classes, device=META)
        self.to_empty(device="cpu")

    def embed(self, images: Tensor) -> Tensor:
        """What the linear layer sees.

        Args:
            images: (N, C, H, W), network-input space.

        Returns:
            (N, F).
        """
        features: Tensor = self.features(images)
        return features.flatten(1)

    def forward(self, images: Tensor) -> Tensor:
        """Logits (N, K), not normalised, of images (N, C, H, W) in network-input space."""
        logits: Tensor = self.classifier(self.embed(images))
        return logits
