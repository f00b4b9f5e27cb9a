"""One network, one calibration spec -> a temperature or the reason why there is none."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any, assert_never

import torch
from torch import Tensor, nn

from ddcal_core.calibration.failure_signatures import (
    Failure,
    accuracy_failure,
    direction_failure,
    logit_spread,
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
from ddcal_core.formats.models import facts_of
from ddcal_core.metrics import accuracy, signed_calibration_gap
from ddcal_core.progress import ProgressCallback, ignore_progress
from ddcal_core.specs.calibration import (
    CalibrationSpec,
    IsotonicCalibration,
    MaskedTemperatureScaling,
    NoCalibration,
    TemperatureScaling,
    VectorCalibration,
)
from ddcal_core.specs.fields import MAX_SEED
from ddcal_core.specs.masks import AutoMask, MaskSpec
from ddcal_core.specs.training import TrainSpec
from ddcal_core.training.train import predict_logits
from worker.trainer.fitting.calibration_images import CalibrationImages
from worker.trainer.fitting.calibrations import Found, Scaling, described, fit_scaling, not_fitted
from worker.trainer.inputs import Examples, ModelInput, parse_json


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

    def fit(self, spec: CalibrationSpec) -> Found:
        """Fit what a spec asks for.

        Returns:
            The scaling of vector and isotonic, and values: method, fit_on, mask_ratio, status,
            temperature (None where there is none), n, nll_before and nll_after on the images
            fitted on (None where infinite or not fitted), standard_error of log T, reached (where
            L-BFGS ended), n_draws, masked_accuracy and spec; of the same images unmasked
            clean_accuracy, clean_signed_gap under T and logit_spread; relative_temperature (T over
            that spread) and failures, by name (see `failure_signatures`); and with ratio auto
            found_by and what `mask_ratio.FoundTemperature` says.
        """
        scaling: Scaling | None = None
        match spec:
            case NoCalibration():
                return Found({**not_fitted(), "spec": spec.model_dump(mode="json")})
            case TemperatureScaling():
                found = self._fit_plain(spec)
            case VectorCalibration() | IsotonicCalibration():
                labels = self._images.of(self._model, spec.fit_on).labels
                found, scaling = fit_scaling(spec.method, self._logits_on(spec.fit_on), labels)
            case MaskedTemperatureScaling():
                found = self._fit_mts(spec)
            case _:
                assert_never(spec)
        values = {
            **not_fitted(),
            "method": spec.method,
            "fit_on": spec.fit_on,
            **found,
            **self._judged(spec.fit_on, found),
            "spec": spec.model_dump(mode="json"),
        }
        return Found(values, scaling)

    def _fit_plain(self, spec: TemperatureScaling) -> dict[str, Any]:
        labels = self._images.of(self._model, spec.fit_on).labels
        logits = self._logits_on(spec.fit_on)
        return described(fit_temperature(logits, labels, method=spec.optimiser))

    def _fit_mts(self, spec: MaskedTemperatureScaling) -> dict[str, Any]:
        match spec.mask:
            case AutoMask():
                return self._find(spec.fit_on)
            case MaskSpec() as mask:
                return self.fit_masked(spec.fit_on, mask, spec.draws_per_image)
            case _:
                assert_never(spec.mask)

    def _logits_on(self, fit_on: str) -> Tensor:
        if fit_on not in self._logits:
            images = self._images.of(self._model, fit_on).images
            self._logits[fit_on] = predict_logits(self._network, images)
        return self._logits[fit_on]

    def _judged(self, fit_on: str, found: Mapping[str, Any]) -> dict[str, Any]:
        """Look at the unmasked images under what was found, and name what went wrong."""
        logits, labels = self._logits_on(fit_on), self._images.of(self._model, fit_on).labels
        clean_accuracy, spread = accuracy(logits, labels), logit_spread(logits)
        failures: list[Failure | None] = []
        if (masked_accuracy := found.get("masked_accuracy")) is not None:
            n_classes = logits.shape[1]
            failures.append(accuracy_failure(masked_accuracy, clean_accuracy, n_classes=n_classes))
        seen: dict[str, float | None] = {
            "clean_accuracy": clean_accuracy,
            "logit_spread": spread,
        }
        temperature = found["temperature"]
        if temperature is not None:
            failures.append(temperature_failure(temperature, spread))
            probabilities = torch.softmax(logits.double() / temperature, 1)
            seen["clean_signed_gap"] = signed_calibration_gap(probabilities, labels)
            seen["relative_temperature"] = temperature / spread if spread else None
            # Images trained on are all right, whatever the confidence: they tell no direction.
            if fit_on == "validation":
                failures.append(direction_failure(probabilities, labels))
        return {**seen, "failures": [name for name in failures if name is not None]}

    def _find(self, fit_on: str) -> dict[str, Any]:
        """Leave the ratio open: by real labels, or the temperature itself from the small set."""
        small = self._images.of(self._model, "distilled")
        if fit_on == "validation":
            real = self._images.of(self._model, fit_on)
            by_label = ratio_by_labels(
                self._network,
                (small.images, small.labels),
                (real.images, real.labels),
                MaskSpec(),
                seed=self._mask_seed,
            )
            return _described_ratio(by_label)
        found = self._find_temperature(small)
        return {
            "found_by": found.method,
            "status": found.status,
            "temperature": found.temperature,
            "n": found.n,
            "n_folds": found.n_folds,
            "half_way_temperature": found.half_way_temperature,
            "factor": found.factor,
            "left_out_accuracy": found.left_out_accuracy,
        }

    def _find_temperature(self, small: Examples) -> FoundTemperature:
        """By the factor that the small set carries, else from the small set alone."""
        factor, seed = self._images.factor_of(self._model), self._mask_seed
        images, labels = small.images, small.labels
        if factor is not None:
            return temperature_by_factor(self._network, images, labels, factor, seed=seed)
        return temperature_without_labels(
            self._network,
            images,
            labels,
            parse_json(TrainSpec, self._model.config["train"]),
            facts=facts_of(self._model.config),
            seed=seed,
            on_progress=self._on_progress,
        )

    def fit_masked(self, fit_on: str, mask: MaskSpec, n_draws: int | None = None) -> dict[str, Any]:
        """Fit on masked images; see `fit` for what comes back."""
        examples = self._images.of(self._model, fit_on)
        found = fit_masked_temperature(
            self._network,
            examples.images,
            examples.labels,
            mask,
            seed=self._mask_seed,
            n_draws=n_draws,
        )
        return {
            **described(found.fit),
            "mask_ratio": mask.ratio,
            "n_draws": found.n_draws,
            "masked_accuracy": found.masked_accuracy,
        }


def mask_seed(seed: int, config: Mapping[str, Any]) -> int:
    """Give the seed of one network's masks, unlike that of the networks beside it."""
    # With equal masks the spread over networks would leave out the spread over masks.
    text = json.dumps([seed, "mask", config["training_set"], config["seed_index"]])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") % MAX_SEED


def _described_ratio(found: FoundRatio) -> dict[str, Any]:
    best = found.best
    return {
        "found_by": "real_nll",
        "status": "separable" if best is None else "ok",
        "temperature": None if best is None else best.temperature,
        "mask_ratio": None if best is None else best.ratio,
        "n": found.n_real,
        "nll_after": None if best is None else best.nll,
    }
