"""Instance normalisation whose second derivatives cost a few passes over the images."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn


class InstanceNorm(nn.GroupNorm):
    """A group norm of one channel a group: each channel of each image to mean 0 and variance 1.

    Values and gradients of images in the usual order of memory are PyTorch's own, bit for bit. What
    differs are gradients of gradients, which distillation lives on: PyTorch takes them through
    every operation of a formula for the gradient, here they are written out.

    Args:
        n_channels: C; each has a scale and a shift.
    """

    def __init__(self, n_channels: int) -> None:
        super().__init__(n_channels, n_channels)

    def forward(self, images: Tensor) -> Tensor:
        """(N, C, H, W) to the same shape."""
        is_learned = images.requires_grad or self.weight.requires_grad or self.bias.requires_grad
        if torch.is_grad_enabled() and is_learned:
            return _normalised(images.contiguous(), self.weight, self.bias, self.eps)[0]
        normalised: Tensor = super().forward(images)
        return normalised


class _Normalised(torch.autograd.Function):
    """y = (x - mean) / std over the pixels of a channel, std^2 = variance + eps; w y + b."""

    @staticmethod
    def forward(
        images: Tensor, weight: Tensor, bias: Tensor, eps: float
    ) -> tuple[Tensor, Tensor, Tensor]:
        n_images, n_channels, height, width = images.shape
        return torch.native_group_norm(
            images, weight, bias, n_images, n_channels, height * width, n_channels, eps
        )

    @staticmethod
    def setup_context(
        ctx: Any,  # noqa: ANN401
        inputs: tuple[Tensor, Tensor, Tensor, float],
        output: tuple[Tensor, Tensor, Tensor],
    ) -> None:
        _, means, scales = output
        ctx.mark_non_differentiable(means, scales)
        ctx.save_for_backward(inputs[0], inputs[1], means, scales)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:  # noqa: ANN401
        return *_gradients(gradients[0].contiguous(), *ctx.saved_tensors), None


class _Gradients(torch.autograd.Function):
    """Those of `_Normalised` by x, w and b: w Jg, sum g y, sum g.

    J g = r (g - mean g - y mean(y g)), r = 1 / std, is the Jacobian of y, which is symmetric.
    """

    @staticmethod
    def forward(
        gradient: Tensor, images: Tensor, weight: Tensor, means: Tensor, scales: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        n_images, n_channels, height, width = images.shape
        sizes = (n_images, n_channels, height * width, n_channels)
        return torch.ops.aten.native_group_norm_backward(  # type: ignore[no-any-return]
            gradient, images, means, scales, weight, *sizes, [True, True, True]
        )

    @staticmethod
    def setup_context(
        ctx: Any,  # noqa: ANN401
        inputs: tuple[Tensor, ...],
        output: tuple[Tensor, Tensor, Tensor],  # noqa: ARG004
    ) -> None:
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx: Any, *outer: Tensor) -> tuple[Tensor, Tensor, Tensor, None, None]:  # noqa: ANN401
        """Gradients of phi = <u, w Jg> + <v, sum g y> + <z, sum g>, u, v, z those by the outputs.

            d phi / d g = w Ju + v y + z
            d phi / d w = sum g Ju
            d phi / d x = v Jg - w r (mean(y g) Ju + mean(y u) Jg + c r y),
                          c = mean(u g) - mean u mean g - mean(y u) mean(y g)

        Each is a sum of u, g, y and 1 with one factor a channel and image.
        """
        gradient, images, weight, means, scales = ctx.saved_tensors
        n_images, n_channels, height, width = images.shape
        # Each channel of each image is a row of n pixels.
        shape, n = (n_images * n_channels, height * width), height * width
        u, g, x = (t.reshape(shape) for t in (outer[0], gradient, images))
        m, r = means.view(-1, 1), scales.view(-1, 1)
        w, v, z = (t.repeat(n_images).view(-1, 1) for t in (weight, outer[1], outer[2]))
        ju, mean_yu, mean_u = _jacobian_product(u, x, m, r)
        jg, mean_yg, mean_g = _jacobian_product(g, x, m, r)
        # In place wherever a buffer is free: fresh memory costs a CPU more than the arithmetic.
        y = u * g
        covariance = y.mean(1, keepdim=True) - mean_u * mean_g - mean_yu * mean_yg
        by_weight = (n * r * covariance).view(n_images, n_channels).sum(0)
        torch.sub(x, m, out=y).mul_(r)
        by_gradient = (y * v).add_(z)
        by_images = jg.mul_(v - w * r * mean_yu).sub_(y.mul_(w * r * r * covariance))
        by_gradient.add_(ju.mul_(w))
        by_images.sub_(ju.mul_(r * mean_yg))
        return by_gradient.view_as(images), by_images.view_as(images), by_weight, None, None


def _jacobian_product(
    g: Tensor, x: Tensor, means: Tensor, scales: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """J g, mean(y g) and mean g of rows: (rows, n), (rows, 1), (rows, 1), in one pass."""
    rows, n = x.shape
    product, of_scale, of_shift = torch.ops.aten.native_group_norm_backward(
        g.view(1, rows, n),
        x.view(1, rows, n),
        means.view(1, rows),
        scales.view(1, rows),
        torch.ones_like(scales).view(rows),
        *(1, rows, n, rows),
        [True, True, True],
    )
    return product.view(rows, n), of_scale.view(rows, 1) / n, of_shift.view(rows, 1) / n


_normalised: Callable[[Tensor, Tensor, Tensor, float], tuple[Tensor, Tensor, Tensor]] = (
    _Normalised.apply
)
_gradients: Callable[..., tuple[Tensor, Tensor, Tensor]] = _Gradients.apply
