"""The temperature that masked temperature scaling is after, found with real labels or with none.

Everything in MTS hangs on its mask ratio. With some labelled real images the ratio is chosen by
their likelihood (`ratio_by_labels`). With the small set alone (`temperature_without_labels`) the
ratio is left out and the temperature found directly, from two things that need no real label:

    half-way images   the network should be unsure midway between two images of different labels:
                      fit T there, each of the two labels counting one half (`half_way`)
    a factor          how far the best T lies from the half-way T. It belongs to the set rather
                      than to the network, so that networks of parts of the set, asked about the
                      images left out, tell it (`left_out`); or one network on real images, while
                      they are at hand, for all later ones (`factor_by_labels`)

What was tried, and on how many cases, is in docs/mask-ratio.md.
"""

import math
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor, nn

from ddcal_core.calibration.half_way import BATCH_SIZE, half_way_temperature
from ddcal_core.calibration.left_out import fold_of_each, likeliest_factor, train_fold
from ddcal_core.calibration.masked import MaskedFit, fit_masked_temperature
from ddcal_core.calibration.temperature import Status, TemperatureFit, fit_temperature
from ddcal_core.metrics import accuracy, negative_log_likelihood
from ddcal_core.progress import Progress, ProgressCallback, ignore_progress
from ddcal_core.specs.facts import DatasetFacts
from ddcal_core.specs.masks import MaskSpec
from ddcal_core.specs.training import TrainSpec
from ddcal_core.training.train import predict_logits

PHASE = "find temperature"
Method = Literal["half_way", "folds", "known_factor"]
RATIOS = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95, 0.98)
_MANY_IMAGES = 256  # beyond, three folds: five would train for twice as long


@dataclass(frozen=True)
class RatioFit:
    """MTS at one ratio, judged by real labels.

    Attributes:
        ratio: share of pixels masked.
        temperature: fitted on the masked small set; None where there is none.
        nll: of the labelled real images at that temperature, in nats; math.inf without one.
    """

    ratio: float
    temperature: float | None
    nll: float


@dataclass(frozen=True)
class FoundRatio:
    """The mask ratio of least NLL on labelled real images.

    Attributes:
        best: the fit at that ratio; None if no ratio has a temperature.
        tried: every ratio, ascending.
        n_real: labelled real images it was judged by.
    """

    best: RatioFit | None
    tried: tuple[RatioFit, ...]
    n_real: int


@dataclass(frozen=True)
class FoundTemperature:
    """A temperature found from the small set alone.

    Attributes:
        temperature: T > 0, half_way_temperature * factor; None where status is not "ok".
        status: of the half-way fit.
        method: "half_way" (factor 1), "folds" or "known_factor".
        half_way_temperature: None where status is not "ok".
        factor: likewise.
        n_folds: networks trained to find it.
        n: images left out in turn.
        left_out_accuracy: of the folds' networks on them, in [0, 1]; None without folds.
    """

    temperature: float | None
    status: Status
    method: Method
    half_way_temperature: float | None
    factor: float | None
    n_folds: int = 0
    n: int = 0
    left_out_accuracy: float | None = None


@dataclass(frozen=True)
class MeasuredFactor:
    """How far the best temperature of a small set's networks lies from the half-way one.

    Attributes:
        factor: temperature / half_way_temperature; None if either is.
        temperature: exact T on labelled real images; None where there is none.
        half_way_temperature: likewise, on half-way images of the small set.
        n_real: labelled real images it was measured on.
    """

    factor: float | None
    temperature: float | None
    half_way_temperature: float | None
    n_real: int


def ratio_by_labels(
    network: nn.Module,
    small_set: tuple[Tensor, Tensor],
    real: tuple[Tensor, Tensor],
    mask: MaskSpec,
    *,
    seed: int,
    ratios: tuple[float, ...] = RATIOS,
) -> FoundRatio:
    """Fit on the masked small set at every ratio, keep the one of least NLL on real images.

    Args:
        network: maps images to logits (N, K).
        small_set: float32 (M, C, H, W) in network-input space, and int64 (M,): masked.
        real: likewise (N, C, H, W) and (N,), labelled real images: never masked.
        mask: unit, channels, scope and fill; its ratio is not looked at.
        seed: of the masks.
        ratios: in [0, 1), ascending.

    Returns:
        The ratio and all that were tried; the lower one of equals.

    Raises:
        ValueError: what `fit_masked_temperature` or `negative_log_likelihood` refuses.
    """
    logits = predict_logits(network, real[0])
    tried: list[RatioFit] = []
    # One seed for all ratios: their masks are nested, so that the NLL moves with the ratio alone.
    for ratio in ratios:
        masked = fit_masked_temperature(
            network, *small_set, mask.model_copy(update={"ratio": ratio}), seed=seed
        )
        tried.append(_judged(ratio, masked, logits, real[1]))
    best = min(tried, key=lambda one: one.nll, default=None)
    found = None if best is None or best.temperature is None else best
    return FoundRatio(found, tuple(tried), len(logits))


def _judged(ratio: float, masked: MaskedFit, logits: Tensor, labels: Tensor) -> RatioFit:
    temperature = masked.fit.temperature
    if temperature is None:
        return RatioFit(ratio, None, math.inf)
    return RatioFit(ratio, temperature, negative_log_likelihood(logits, labels, temperature))


def factor_by_labels(
    network: nn.Module,
    small_set: tuple[Tensor, Tensor],
    real: tuple[Tensor, Tensor],
    *,
    seed: int,
) -> MeasuredFactor:
    """The factor of a small set, measured on labelled real images with one network.

    It holds for other networks of the set, wider, deeper, trained longer or with another loss:
    docs/mask-ratio.md has by how much.

    Args:
        network: trained on the small set.
        small_set: float32 (M, C, H, W) in network-input space, and int64 (M,).
        real: likewise, labelled real images.
        seed: of the pairs.

    Returns:
        The factor and what it is made of.

    Raises:
        ValueError: what `half_way_temperature` or `fit_temperature` refuses.
    """
    half_way = half_way_temperature(network, *small_set, seed=seed).temperature
    logits = predict_logits(network, real[0], batch_size=BATCH_SIZE)
    fitted = fit_temperature(logits, real[1]).temperature
    factor = None if half_way is None or fitted is None else fitted / half_way
    return MeasuredFactor(factor, fitted, half_way, len(logits))


def temperature_by_factor(
    network: nn.Module, images: Tensor, labels: Tensor, factor: float, *, seed: int
) -> FoundTemperature:
    """A network's temperature from its small set and a factor known of that set.

    Args:
        network: maps images to logits (N, K).
        images: float32 (M, C, H, W), network-input space: what it was trained on.
        labels: int64 (M,).
        factor: from `factor_by_labels`, above 0.
        seed: of the pairs.

    Returns:
        factor * half-way T.

    Raises:
        ValueError: a factor not in (0, inf), or what `half_way_temperature` refuses.
    """
    if not 0 < factor < math.inf:
        raise ValueError(f"wanted a finite factor above 0, got {factor}")
    fit = half_way_temperature(network, images, labels, seed=seed)
    return _times(fit, factor, "known_factor")


def _times(fit: TemperatureFit, factor: float, method: Method) -> FoundTemperature:
    if fit.temperature is None:
        return FoundTemperature(None, fit.status, method, None, None)
    return FoundTemperature(fit.temperature * factor, "ok", method, fit.temperature, factor)


def temperature_without_labels(
    network: nn.Module,
    images: Tensor,
    labels: Tensor,
    spec: TrainSpec,
    *,
    facts: DatasetFacts,
    seed: int,
    on_progress: ProgressCallback = ignore_progress,
) -> FoundTemperature:
    """Find a network's temperature from the small set it was trained on, and nothing else.

    T = factor * half-way T of the network. The factor is fitted on images left out in turn: each
    fold's logits are divided by the half-way T of that fold's network, so that networks of fewer
    images lend their factor and not their scale; a normal prior on log factor holds it where the
    images left out are few or all right. With one image in some class nothing can be left out,
    and where the folds do worse than chance they say nothing: then the factor is 1.

    Trains up to five networks on four fifths of the small set (three on two thirds from 257
    images on): about 4 (2) times what the network itself took.

    Args:
        network: maps images to logits (N, K), on the images' device.
        images: float32 (M, C, H, W), network-input space: what it was trained on.
        labels: int64 (M,).
        spec: how it was trained.
        facts: image shape and number of classes, for the networks of the folds.
        seed: of pairs, folds and their networks.
        on_progress: told after each fold.

    Returns:
        The temperature and how it was found; none for K = 2, see `half_way_temperature`.

    Raises:
        ValueError: fewer than two classes have images.
        DivergedError: training a fold's network failed.

    Source:
        Our own; half-way images after Zhang et al., ICLR 2018 (mixup). Numbers, and the sets on
        which it fails: docs/mask-ratio.md.
    """
    half_way = half_way_temperature(network, images, labels, seed=seed)
    counts = torch.bincount(labels)
    n_folds = min(int(counts[counts > 0].min()), 5 if len(labels) <= _MANY_IMAGES else 3)
    if half_way.temperature is None or n_folds < 2:
        return _times(half_way, 1.0, "half_way")
    fold_of = fold_of_each(labels, n_folds, seed)
    left_out: list[Tensor] = []
    for fold in range(n_folds):
        held = fold_of == fold
        trained = train_fold(images[~held], labels[~held], spec, facts, (seed, fold))
        scale = half_way_temperature(trained, images[~held], labels[~held], seed=seed).temperature
        logits = predict_logits(trained, images[held], batch_size=BATCH_SIZE)
        # A fold's network that has learned nothing has no half-way T; the whole set's stands in.
        left_out.append(logits / (scale or half_way.temperature))
        on_progress(Progress(phase=PHASE, step=fold + 1, steps=n_folds, values={}))
    logits = torch.cat(left_out)
    own = torch.cat([labels[fold_of == fold] for fold in range(n_folds)])
    # DM draws the images of a class to its mean together, so that one left out lies on the other
    # side of it: networks may do worse than chance on left-out images, and well on test images.
    is_worse_than_chance = fit_temperature(logits, own).status == "worse_than_chance"
    factor = 1.0 if is_worse_than_chance else likeliest_factor(logits, own)
    return replace(
        _times(half_way, factor, "half_way" if is_worse_than_chance else "folds"),
        n_folds=n_folds,
        n=len(own),
        left_out_accuracy=accuracy(logits, own),
    )
