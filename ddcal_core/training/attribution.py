"""Which pixels a network's answer rests on, how few they are, and whether they decide it."""

import torch
from torch import Tensor, nn

N_NODES = 32
"""Points of the path at which gradients are taken."""
N_SHARES = 16
"""Steps in which pixels are taken away."""


def integrated_gradients(
    network: nn.Module, images: Tensor, classes: Tensor, *, n_nodes: int = N_NODES
) -> Tensor:
    """How much each number of an image adds to the logit of a class, from the mean image on.

    Args:
        network: images -> logits, in evaluation mode; differentiable.
        images: float32 (N, C, H, W), network-input space, in which the mean image is zero.
        classes: int64 (N,), whose logit is explained.
        n_nodes: points of the straight path from the mean image (Gauss-Legendre quadrature).

    Returns:
        float32 (N, C, H, W), without gradient; each image's sum is the difference of its logit and
        that of the mean image, up to the quadrature.

    Source:
        Sundararajan, Taly and Yan, Axiomatic Attribution for Deep Networks, ICML 2017, section 3.
    """
    nodes, weights = _gauss_legendre(n_nodes)
    total = torch.zeros_like(images)
    for node, weight in zip(nodes.tolist(), weights.tolist(), strict=True):
        with torch.enable_grad():
            point = (node * images).detach().requires_grad_()
            logits = network(point).gather(1, classes.view(-1, 1)).sum()
            (gradient,) = torch.autograd.grad(logits, point)
        total += weight * gradient
    return total * images


def concentration(saliency: Tensor) -> Tensor:
    """How few pixels hold an attribution: the Gini coefficient of its sizes.

    Args:
        saliency: float (N, H, W); its sign does not count.

    Returns:
        float64 (N,) in [0, 1): 0 where all pixels hold the same, near 1 where one holds all; 0
        where there is nothing to hold.

    Source:
        Hurley and Rickard, Comparing Measures of Sparsity, IEEE Trans. Inf. Theory 55(10), 2009.
    """
    sizes = saliency.flatten(1).double().abs().sort(dim=1).values
    n = sizes.shape[1]
    ranks = torch.arange(1, n + 1, dtype=torch.float64, device=sizes.device)
    sums = sizes.sum(1)
    weighted = (sizes * (2 * ranks - n - 1)).sum(1)
    return torch.where(sums > 0, weighted / (n * sums.clamp_min(1e-300)), torch.zeros_like(sums))


def areas_by_removal(
    network: nn.Module, images: Tensor, saliency: Tensor, classes: Tensor
) -> tuple[Tensor, Tensor]:
    """How sure a network stays as the pixels that count most are taken away, or alone put in.

    Args:
        network: images -> logits, in evaluation mode.
        images: float32 (N, C, H, W), network-input space; a pixel taken away is 0, the mean.
        saliency: float (N, H, W); the pixels of the largest come first.
        classes: int64 (N,), whose probability is followed.

    Returns:
        Areas under the probability over the share of pixels, each float64 (N,) in [0, 1]: deletion
        (low where the pixels decide), insertion (high where they are enough).

    Source:
        Petsiuk, Das and Saenko, RISE, BMVC 2018, section 4.2.
    """
    n_pixels = saliency[0].numel()
    order = saliency.flatten(1).argsort(dim=1, descending=True, stable=True)
    places = order.argsort(dim=1).view_as(saliency).unsqueeze(1)
    shares = [round(k * n_pixels / N_SHARES) for k in range(N_SHARES + 1)]
    with torch.no_grad():
        deleted = [_sure(network, images * (places >= n), classes) for n in shares]
        inserted = [_sure(network, images * (places < n), classes) for n in shares]
    return _area(deleted), _area(inserted)


def _sure(network: nn.Module, images: Tensor, classes: Tensor) -> Tensor:
    probabilities: Tensor = network(images).double().softmax(1)
    return probabilities.gather(1, classes.view(-1, 1)).squeeze(1)


def _area(curve: list[Tensor]) -> Tensor:
    area: Tensor = torch.trapezoid(torch.stack(curve), dx=1 / N_SHARES, dim=0)
    return area


def _gauss_legendre(n_nodes: int) -> tuple[Tensor, Tensor]:
    """Nodes in (0, 1) and weights whose sum is 1, from the eigenvalues of the Jacobi matrix."""
    k = torch.arange(1, n_nodes, dtype=torch.float64)
    beside = k / torch.sqrt(4 * k**2 - 1)
    values, vectors = torch.linalg.eigh(torch.diag(beside, 1) + torch.diag(beside, -1))
    weights: Tensor = vectors[0] ** 2
    return (values + 1) / 2, weights
