"""One network, one calibration spec -> a temperature or the reason why there is none."""

import hashlib
import json
from typing import assert_never

import torch
from torch import Tensor, nn

from ddcal_core.calibration.failure_signatures import (
    Failure,
    accuracy_failure,
    direction_failure,
    logit_spread,
    relative_temperature,
    temperature_failure,
)
from ddcal_core.calibration.mask_ratio import (
    FoundRatio,
    FoundTemperature,
    ratio_by_labels,
    temperature_by_factor,
    temperature_without_labels,
)
from ddcal_core.calibration.masked import fit_masked_temperature, fit_temperature
from ddcal_core.calibration.masked_logits import (
    MaskedLogits,
    largest_logits_under_masks,
    masked_logits,
)
from ddcal_core.data.network_images import pick
from ddcal_core.formats.calibrations import CalibrationValues, FitOn, Fitted, Judged
from ddcal_core.formats.manifests import ModelConfig
from ddcal_core.metrics import accuracy, probabilities_at, signed_calibration_gap
from ddcal_core.progress import ProgressCallback, ignore_progress
from ddcal_core.specs.calibration import (
    CalibrationSpec,
    EnsembleCalibration,
    IsotonicCalibration,
    MaskedTemperatureScaling,
    NoCalibration,
    TemperatureScaling,
    VectorCalibration,
)
from ddcal_core.specs.fields import MAX_SEED
from ddcal_core.specs.masks import AutoMask, MaskShape, MaskSpec
from ddcal_core.training.train import predict_logits
from worker.trainer.fitting.calibration_images import CalibrationImages
from worker.trainer.fitting.calibrations import (
    Found,
    Scaling,
    described,
    described_masked,
    fit_scaling,
)
from worker.trainer.inputs import ModelInput
from worker.trainer.loading import Examples


class Fitter:
    """Fits temperatures of one network; its logits on each image source are computed once.

    Args:
        network: in evaluation mode, on the images' device.
        model: what the network is.
        images: finds its validation images and small set.
        seed: of the job; masks are drawn from it and the network's place among its seeds.
        on_progress: told where networks are trained to find a temperature.
    """

    def __init__(
        self,
        network: nn.Module,
        model: ModelInput,
        images: CalibrationImages,
        *,
        seed: int,
        on_progress: ProgressCallback = ignore_progress,
    ) -> None:
        self._network = network
        self._model = model
        self._images = images
        self._mask_seed = mask_seed(seed, model.config)
        self._logits: dict[str, Tensor] = {}
        self._on_progress = on_progress

    def fit(self, spec: CalibrationSpec) -> Found[CalibrationValues]:
        """Fit what a spec asks for.

        Returns:
            What was found, with the scaling of vector, isotonic and ets.
        """
        scaling: Scaling | None = None
        match spec:
            case NoCalibration():
                return Found(self._values(spec, Fitted(), Judged()))
            case TemperatureScaling():
                found = self._fit_plain(spec)
            case VectorCalibration() | IsotonicCalibration() | EnsembleCalibration():
                labels = self._images.of(self._model, spec.fit_on).labels
                logits = self._logits_on(spec.fit_on)
                found, scaling = fit_scaling(spec.method, logits, labels, spec.fit_on)
            case MaskedTemperatureScaling():
                found = self._fit_mts(spec)
            case _:
                assert_never(spec)
        return Found(self._values(spec, found, self._judged(spec.fit_on, found)), scaling)

    def _values(self, spec: CalibrationSpec, found: Fitted, judged: Judged) -> CalibrationValues:
        config = self._model.config
        return CalibrationValues(
            **dict(found),
            **dict(judged),
            spec=spec,
            model_id=self._model.id,
            dataset=config.dataset,
            training_set=config.training_set,
            distilled_set_id=config.distilled_set_id,
            images_per_class=config.images_per_class,
            seed_index=config.seed_index,
        )

    def _fit_plain(self, spec: TemperatureScaling) -> Fitted:
        labels = self._images.of(self._model, spec.fit_on).labels
        fit = fit_temperature(self._logits_on(spec.fit_on), labels, method=spec.optimiser)
        return described(fit, spec.fit_on)

    def _fit_mts(self, spec: MaskedTemperatureScaling) -> Fitted:
        match spec.mask:
            case AutoMask():
                return self._find(spec.fit_on)
            case MaskSpec() as mask:
                return self.fit_masked(spec.fit_on, mask, spec.draws_per_image)
            case _:
                assert_never(spec.mask)

    def _logits_on(self, fit_on: FitOn) -> Tensor:
        if fit_on not in self._logits:
            images = self._images.of(self._model, fit_on).images
            self._logits[fit_on] = predict_logits(self._network, images)
        return self._logits[fit_on]

    def _judged(self, fit_on: FitOn, found: Fitted) -> Judged:
        """Look at the unmasked images under what was found, and name what went wrong."""
        logits, labels = self._logits_on(fit_on), self._images.of(self._model, fit_on).labels
        clean_accuracy, spread = accuracy(logits, labels), logit_spread(logits, labels)
        failures: list[Failure | None] = []
        if found.masked_accuracy is not None:
            n_classes = logits.shape[1]
            failures.append(
                accuracy_failure(found.masked_accuracy, clean_accuracy, n_classes=n_classes)
            )
        signed_gap = relative = None
        if found.temperature is not None:
            failures.append(temperature_failure(found.temperature, spread))
            probabilities = probabilities_at(logits, found.temperature)
            signed_gap = signed_calibration_gap(probabilities, labels)
            relative = relative_temperature(found.temperature, spread)
            # Images trained on are all right, whatever the confidence: they tell no direction.
            if fit_on == "validation":
                failures.append(direction_failure(probabilities, labels))
        return Judged(
            clean_accuracy=clean_accuracy,
            clean_signed_gap=signed_gap,
            logit_spread=spread,
            relative_temperature=relative,
            failures=tuple(name for name in failures if name is not None),
        )

    def _find(self, fit_on: FitOn) -> Fitted:
        """Leave the ratio open: by real labels, or the temperature itself from the small set."""
        small = self._images.of(self._model, "training_set")
        if fit_on == "validation":
            real = self._images.of(self._model, fit_on)
            by_label = ratio_by_labels(
                self._network,
                (small.images, small.labels),
                (real.images, real.labels),
                (MaskShape(), _patches_for(self._model.config.image_shape)),
                seed=self._mask_seed,
            )
            return _described_ratio(by_label)
        return _described_temperature(self._find_temperature(small))

    def _find_temperature(self, small: Examples) -> FoundTemperature:
        """By the factor that the small set carries, else from the small set alone."""
        factor, seed = self._images.factor_of(self._model), self._mask_seed
        images, labels = small.images, small.labels
        if factor is not None:
            return temperature_by_factor(self._network, images, labels, factor, seed=seed)
        train = self._model.config.train
        if train is None:
            raise ValueError(
                'mask ratio "auto" on the training set trains networks like the one it is of; '
                f"{self._model.id} was made elsewhere: give a ratio, or import it on a set that "
                "carries a factor"
            )
        return temperature_without_labels(
            self._network,
            images,
            labels,
            train,
            facts=self._model.config.facts,
            seed=seed,
            on_progress=self._on_progress,
        )

    def fit_masked(self, fit_on: FitOn, mask: MaskSpec, n_draws: int | None = None) -> Fitted:
        """Fit a temperature on masked images."""
        examples = self._images.of(self._model, fit_on)
        found = fit_masked_temperature(
            self._network,
            examples.images,
            examples.labels,
            mask,
            seed=self._mask_seed,
            n_draws=n_draws,
        )
        return described_masked(found, fit_on, mask)

    def masked_logits(self, mask: MaskSpec, n_images: int, n_draws: int) -> MaskedLogits:
        """Look at the largest logits of some real validation images under masks.

        Args:
            mask: share of pixels masked, and how.
            n_images: at most, evenly spaced among them.
            n_draws: masks of each image; without one masked pixel one is enough.
        """
        images = self._images.of(self._model, "validation").images
        step = max(1, -(-len(images) // n_images))
        some = pick(images, torch.arange(0, len(images), step, device=images.device))
        n_draws = n_draws if mask.ratio > 0 else 1
        return masked_logits(
            largest_logits_under_masks(
                self._network, some, mask, seed=self._mask_seed, n_draws=n_draws
            )
        )


def mask_seed(seed: int, config: ModelConfig) -> int:
    """Give the seed of one network's masks, unlike that of the networks beside it."""
    # With equal masks the spread over networks would leave out the spread over masks.
    text = json.dumps([seed, "mask", config.training_set, config.seed_index])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") % MAX_SEED


def _patches_for(image_shape: tuple[int, int, int]) -> MaskShape:
    """Patches of a quarter of the image's shorter side."""
    return MaskShape(unit="patch", patch_size=max(2, min(image_shape[1:]) // 4))


def _described_temperature(found: FoundTemperature) -> Fitted:
    of_two = found.yardstick.kind == "logit_rms"
    return Fitted(
        method="mts",
        fit_on="training_set",
        found_by=found.method,
        status="ok" if found.undetermined is None else "undetermined",
        undetermined=found.undetermined,
        temperature=found.temperature,
        n=found.n,
        n_folds=found.n_folds,
        half_way_temperature=None if of_two else found.yardstick.value,
        logit_rms=found.yardstick.value if of_two else None,
        factor=found.factor,
        left_out_accuracy=found.left_out_accuracy,
    )


def _described_ratio(found: FoundRatio) -> Fitted:
    best = found.best
    return Fitted(
        method="mts",
        fit_on="validation",
        found_by="real_nll",
        status=found.status,
        temperature=None if best is None else best.temperature,
        mask_ratio=None if best is None else best.mask.ratio,
        mask_patch_size=None if best is None else best.mask.patch_size,
        n=found.n_real,
        nll_after=None if best is None else best.nll,
    )
