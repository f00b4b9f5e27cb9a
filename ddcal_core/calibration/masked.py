"""Temperatures of images, masked or not, and what there is where no temperature is best."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ddcal_core.calibration.temperature import Method, Status, TemperatureFit, fit_temperature
from ddcal_core.data.network_images import NetworkImages
from ddcal_core.metrics import (
    N_BINS,
    accuracy,
    brier_score,
    expected_calibration_error,
    signed_calibration_gap,
)
from ddcal_core.seeding import seeded_generator
from ddcal_core.specs.masks import MaskSpec
from ddcal_core.training.masking import MaskedImages
from ddcal_core.training.train import predict_logits

__all__ = [
    "LimitMetrics",
    "MaskedFit",
    "Method",
    "Status",
    "TemperatureFit",
    "fit_masked_temperature",
    "fit_temperature",
    "infinite_temperature_limit",
    "zero_temperature_limit",
]

# Over so many, T does not hang on the draw of one mask. The paper does not say how many it takes.
MIN_MASKED_ROWS = 1000


@dataclass(frozen=True)
class MaskedFit:
    """A temperature fitted on masked images.

    Attributes:
        fit: on n_draws rows of logits an image.
        n_draws: masks drawn for each image.
        masked_accuracy: of the network on the masked images, in [0, 1].
    """

    fit: TemperatureFit
    n_draws: int
    masked_accuracy: float


@dataclass(frozen=True)
class LimitMetrics:
    """What the metrics tend to where there is no best temperature.

    Attributes:
        accuracy: does not depend on T.
        nll: in nats; math.inf where a wrong prediction becomes certain.
        brier: in [0, 2].
        ece: in [0, 1].
        signed_gap: confidence - accuracy.
    """

    accuracy: float
    nll: float
    brier: float
    ece: float
    signed_gap: float


def fit_masked_temperature(
    network: nn.Module,
    images: NetworkImages,
    labels: Tensor,
    mask: MaskSpec,
    *,
    seed: int,
    n_draws: int | None = None,
    batch_size: int = 128,
) -> MaskedFit:
    """The temperature of least NLL on randomly masked images (MTS).

    Few images are masked anew until there are 1,000 rows; masks depend on seed and draw alone,
    not on the batches. Nothing is masked when the temperature is used. With ratio 0 it is
    `fit_temperature` on the images as they are.

    Args:
        network: maps images to logits (N, K).
        images: float32 (N, C, H, W), network-input space, N >= 1, on the network's device.
        labels: int64 (N,).
        mask: share of pixels to mask, and how.
        seed: of the masks.
        n_draws: masks drawn for each image; None for as many as make 1,000 rows, at least one.
        batch_size: images the network sees at once.

    Returns:
        The fit, how many masks each image got, and the accuracy under them.

    Raises:
        ValueError: no images, or what `fit_temperature` refuses.

    Source:
        arXiv 2307.12463; number of draws and optimiser are not given there.
    """
    n = len(images)
    if n == 0:
        raise ValueError("wanted at least one image, got none")
    n_draws = (n_draws or math.ceil(MIN_MASKED_ROWS / n)) if mask.ratio > 0 else 1
    draws_at_once = max(1, batch_size // n)
    logits: list[Tensor] = []
    # Masks are drawn before the fit: drawn anew at each step of the solver, they would change the
    # function under it.
    for start in range(0, n_draws, draws_at_once):
        draws = range(start, min(start + draws_at_once, n_draws))
        masked = [MaskedImages(mask, images, seeded_generator(seed, "mts", draw)) for draw in draws]
        shown = masked[0] if len(masked) == 1 else torch.cat([one[:] for one in masked])
        logits.append(predict_logits(network, shown, batch_size=batch_size))
    all_logits, all_labels = torch.cat(logits), labels.repeat(n_draws)
    fit = fit_temperature(all_logits, all_labels, n_draws=n_draws)
    return MaskedFit(fit, n_draws, accuracy(all_logits, all_labels))


def zero_temperature_limit(logits: Tensor, labels: Tensor, n_bins: int = N_BINS) -> LimitMetrics:
    """What the metrics tend to for T -> 0, the answer to a separable fit.

    All probability goes to the largest logit, in equal parts where several are largest. Without
    such ties ECE and signed gap are 1 - accuracy, Brier is twice that, and NLL is infinite unless
    all is right.

    Args:
        logits: (N, K), N >= 1, finite.
        labels: int64 (N,), 0 to K - 1.
        n_bins: of the ECE, at least 1; matters only with ties.

    Returns:
        The limits.

    Raises:
        ValueError: what `metrics.accuracy` refuses.
    """
    share = accuracy(logits, labels)
    is_largest = (logits == logits.amax(1, keepdim=True)).double()
    probabilities = is_largest / is_largest.sum(1, keepdim=True)
    at_label = probabilities.gather(1, labels.unsqueeze(1))
    return LimitMetrics(
        accuracy=share,
        nll=float(-at_label.log().mean()),
        brier=brier_score(probabilities, labels),
        ece=expected_calibration_error(probabilities, labels, n_bins),
        signed_gap=signed_calibration_gap(probabilities, labels),
    )


def infinite_temperature_limit(logits: Tensor, labels: Tensor) -> LimitMetrics:
    """What the metrics tend to for T -> infinity, the answer to a fit worse than chance.

    Every class gets 1 / K, and the prediction stays the first largest logit: confidence tends to
    1 / K, the same for all, so that ECE is |accuracy - 1 / K|. Masked classes (`masked_gap`) are
    taken for classes here, and by their distance are none in the NLL that a fit tells of.

    Args:
        logits: (N, K), N >= 1, finite.
        labels: int64 (N,), 0 to K - 1.

    Returns:
        The limits.

    Raises:
        ValueError: what `metrics.accuracy` refuses.
    """
    share = accuracy(logits, labels)
    n_classes = logits.shape[1]
    gap = 1 / n_classes - share
    return LimitMetrics(
        accuracy=share,
        nll=math.log(n_classes),
        brier=1 - 1 / n_classes,
        ece=abs(gap),
        signed_gap=gap,
    )
