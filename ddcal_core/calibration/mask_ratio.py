"""The temperature that masked temperature scaling is after, found with real labels or with none.

Everything in MTS hangs on its mask ratio. With some labelled real images the ratio is chosen by
their likelihood (`ratio_by_labels`). With the small set alone the ratio is left out, and the
temperature is a factor times a yardstick of the network's logits (`yardstick`):

    carried     the factor was measured with labelled real images, while these were at hand, when
                the set was made (`factor_by_labels`); it serves all networks of the set
    left out    networks of parts of the set are asked about the images left out (`left_out`)

What was tried, and on how many cases, is in docs/mask-ratio.md.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor, nn

from ddcal_core.calibration.left_out import fold_of_each, likeliest_factor, train_fold
from ddcal_core.calibration.masked import MaskedFit, fit_masked_temperature
from ddcal_core.calibration.temperature import Status, fit_temperature
from ddcal_core.calibration.yardstick import BATCH_SIZE, Yardstick, measure_yardstick
from ddcal_core.data.network_images import NetworkImages
from ddcal_core.metrics import accuracy, negative_log_likelihood
from ddcal_core.progress import Progress, ProgressCallback, ignore_progress
from ddcal_core.specs.facts import DatasetFacts
from ddcal_core.specs.masks import MaskShape, MaskSpec
from ddcal_core.specs.training import TrainSpec
from ddcal_core.training.train import predict_logits

PHASE = "find temperature"
Method = Literal["half_way", "folds", "known_factor"]
Undetermined = Literal["nothing_learned", "nothing_to_leave_out", "left_out_worse_than_chance"]
"""Why nothing tells a network's temperature."""
RATIOS = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95, 0.98)
_MANY_IMAGES = 256  # beyond, three folds: five would train for twice as long


@dataclass(frozen=True)
class RatioFit:
    """MTS under one mask, judged by real labels.

    Attributes:
        mask: with its ratio.
        temperature: fitted on the masked small set; None where there is none.
        nll: of the labelled real images at that temperature, in nats; math.inf without one.
        status: of the fit.
    """

    mask: MaskSpec
    temperature: float | None
    nll: float
    status: Status


@dataclass(frozen=True)
class FoundRatio:
    """The mask of least NLL on labelled real images.

    Attributes:
        best: the fit under that mask; None if no mask has a temperature.
        tried: shape by shape every ratio, ascending.
        n_real: labelled real images it was judged by.
    """

    best: RatioFit | None
    tried: tuple[RatioFit, ...]
    n_real: int

    @property
    def status(self) -> Status:
        """Of the best fit; where there is none, of the first: why the lightest mask has no T."""
        return (self.best or self.tried[0]).status


@dataclass(frozen=True)
class FoundTemperature:
    """A temperature found from the small set alone.

    Attributes:
        temperature: T > 0: yardstick times factor; 1 where nothing tells it.
        undetermined: why nothing does; None where something does.
        method: "half_way" (factor 1), "folds" or "known_factor".
        yardstick: of the network.
        factor: None where the temperature is undetermined.
        n_folds: networks trained to find it.
        n: images left out in turn.
        left_out_accuracy: of the folds' networks on them, in [0, 1]; None without folds.
    """

    temperature: float
    undetermined: Undetermined | None
    method: Method
    yardstick: Yardstick
    factor: float | None
    n_folds: int = 0
    n: int = 0
    left_out_accuracy: float | None = None


@dataclass(frozen=True)
class MeasuredFactor:
    """How far the best temperature of a network of a small set lies from its yardstick.

    Attributes:
        factor: temperature / yardstick; None where there is no such number.
        temperature: exact T on labelled real images; None where there is none.
        yardstick: of the network.
        n_real: labelled real images it was measured on.
    """

    factor: float | None
    temperature: float | None
    yardstick: Yardstick
    n_real: int


def ratio_by_labels(
    network: nn.Module,
    small_set: tuple[NetworkImages, Tensor],
    real: tuple[NetworkImages, Tensor],
    shapes: Sequence[MaskShape],
    *,
    seed: int,
    ratios: tuple[float, ...] = RATIOS,
) -> FoundRatio:
    """Fit on the masked small set at every ratio, keep the mask of least NLL on real images.

    Args:
        network: maps images to logits (N, K).
        small_set: float32 (M, C, H, W) in network-input space, and int64 (M,): masked.
        real: likewise (N, C, H, W) and (N,), labelled real images: never masked.
        shapes: unit, channels, scope and fill, each tried at every ratio.
        seed: of the masks.
        ratios: in [0, 1), ascending, at least one.

    Returns:
        The mask and all that were tried; the earlier one of equals.

    Raises:
        ValueError: what `fit_masked_temperature` or `negative_log_likelihood` refuses.
    """
    logits = predict_logits(network, real[0])
    tried: list[RatioFit] = []
    # One seed for all ratios: their masks are nested, so that the NLL moves with the ratio alone.
    for mask in (MaskSpec.of(shape, ratio) for shape in shapes for ratio in ratios):
        masked = fit_masked_temperature(network, *small_set, mask, seed=seed)
        tried.append(_judged(mask, masked, logits, real[1]))
    best = min(tried, key=lambda one: one.nll)
    return FoundRatio(None if best.temperature is None else best, tuple(tried), len(logits))


def _judged(mask: MaskSpec, masked: MaskedFit, logits: Tensor, labels: Tensor) -> RatioFit:
    temperature = masked.fit.temperature
    nll = math.inf
    if temperature is not None:
        nll = negative_log_likelihood(logits, labels, temperature)
    return RatioFit(mask, temperature, nll, masked.fit.status)


def factor_by_labels(
    network: nn.Module,
    small_set: tuple[NetworkImages, Tensor],
    real: tuple[NetworkImages, Tensor],
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
        ValueError: what `measure_yardstick` or `fit_temperature` refuses.
    """
    yardstick = measure_yardstick(network, *small_set, seed=seed)
    logits = predict_logits(network, real[0], batch_size=BATCH_SIZE)
    fitted = fit_temperature(logits, real[1]).temperature
    factor = None if yardstick.value is None or fitted is None else fitted / yardstick.value
    return MeasuredFactor(factor, fitted, yardstick, len(logits))


def temperature_by_factor(
    network: nn.Module, images: NetworkImages, labels: Tensor, factor: float, *, seed: int
) -> FoundTemperature:
    """A network's temperature from its small set and a factor known of that set.

    Args:
        network: maps images to logits (N, K).
        images: float32 (M, C, H, W), network-input space: what it was trained on.
        labels: int64 (M,).
        factor: from `factor_by_labels`, above 0.
        seed: of the pairs.

    Returns:
        factor * yardstick.

    Raises:
        ValueError: a factor not in (0, inf), or what `measure_yardstick` refuses.
    """
    if not 0 < factor < math.inf:
        raise ValueError(f"wanted a finite factor above 0, got {factor}")
    yardstick = measure_yardstick(network, images, labels, seed=seed)
    if yardstick.value is None:
        return _undetermined("nothing_learned", yardstick)
    return FoundTemperature(yardstick.value * factor, None, "known_factor", yardstick, factor)


def _undetermined(why: Undetermined, yardstick: Yardstick) -> FoundTemperature:
    return FoundTemperature(1.0, why, "half_way", yardstick, None)


def temperature_without_labels(
    network: nn.Module,
    images: NetworkImages,
    labels: Tensor,
    spec: TrainSpec,
    *,
    facts: DatasetFacts,
    seed: int,
    on_progress: ProgressCallback = ignore_progress,
) -> FoundTemperature:
    """Find a network's temperature from the small set it was trained on, and nothing else.

    T = factor * yardstick of the network. The factor is fitted on images left out in turn: each
    fold's logits are divided by the yardstick of that fold's network, so that networks of fewer
    images lend their factor and not their scale; a normal prior on log factor holds it where the
    images left out are few or all right. With one image in some class nothing can be left out,
    and where the folds do worse than chance they say nothing: then the half-way temperature itself
    is the answer, and of two classes, which have none, there is no answer: T = 1.

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
        The temperature and how it was found.

    Raises:
        ValueError: fewer than two classes have images.
        DivergedError: training a fold's network failed.

    Source:
        Our own. Numbers, and the sets on which it fails: docs/mask-ratio.md.
    """
    yardstick = measure_yardstick(network, images, labels, seed=seed)
    if yardstick.value is None:
        return _undetermined("nothing_learned", yardstick)
    counts = torch.bincount(labels)
    n_folds = min(int(counts[counts > 0].min()), 5 if len(labels) <= _MANY_IMAGES else 3)
    if n_folds < 2:
        return _without_folds(yardstick, "nothing_to_leave_out")
    fold_of = fold_of_each(labels, n_folds, seed)
    left_out: list[Tensor] = []
    for fold in range(n_folds):
        held = fold_of == fold
        trained = train_fold(images[~held], labels[~held], spec, facts, (seed, fold))
        scale = measure_yardstick(trained, images[~held], labels[~held], seed=seed).value
        logits = predict_logits(trained, images[held], batch_size=BATCH_SIZE)
        # A fold's network that has learned nothing has no yardstick; the whole set's stands in.
        left_out.append(logits / (scale or yardstick.value))
        on_progress(Progress(phase=PHASE, step=fold + 1, steps=n_folds, values={}))
    logits = torch.cat(left_out)
    own = torch.cat([labels[fold_of == fold] for fold in range(n_folds)])
    # DM draws the images of a class to its mean together, so that one left out lies on the other
    # side of it: networks may do worse than chance on left-out images, and well on test images.
    if fit_temperature(logits, own).status == "worse_than_chance":
        found = _without_folds(yardstick, "left_out_worse_than_chance")
    else:
        factor = likeliest_factor(logits, own, yardstick.kind)
        temperature = yardstick.value * factor
        found = FoundTemperature(temperature, None, "folds", yardstick, factor)
    return replace(found, n_folds=n_folds, n=len(own), left_out_accuracy=accuracy(logits, own))


def _without_folds(yardstick: Yardstick, why: Undetermined) -> FoundTemperature:
    """What is left where nothing was learned from images left out."""
    # Only a half-way temperature is one by itself.
    if yardstick.kind == "logit_rms" or yardstick.value is None:
        return _undetermined(why, yardstick)
    return FoundTemperature(yardstick.value, None, "half_way", yardstick, 1.0)
