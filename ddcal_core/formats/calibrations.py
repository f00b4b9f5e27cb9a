"""What a calibration has found, as results and files hold it."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from pydantic import BeforeValidator, Field, SerializeAsAny

from ddcal_core.errors import InvalidDataError
from ddcal_core.formats.records import Record, VersionedRecord, read_record
from ddcal_core.specs.calibration import (
    CalibrationSpec,
    Optimiser,
    TemperatureScaling,
    in_todays_word,
)
from ddcal_core.specs.fields import Spec, is_none, members_of

CalibrationMethod = Literal["none", "ts", "mts", "vector", "isotonic", "ets"]
TrainingSource = Literal["distilled", "random", "taught", "herding", "full", "unknown"]
"""What a network was trained on, by `source` of the train job; "unknown" of one made elsewhere."""
FitOn = Annotated[
    Literal["validation", "training_set", "fit rows"], BeforeValidator(in_todays_word)
]
CalibrationStatus = Literal[
    "ok",
    "separable",
    "worse_than_chance",
    "unidentified",
    "not_converged",
    "not_positive",
    "not_finite",
    "one_class",
    "undetermined",
]
Failure = Literal[
    "costs_accuracy",
    "class_wiped_out",
    "over_calibration",
    "under_calibration",
    "accuracy_lost",
    "nearly_uniform",
    "nearly_certain",
]


FoundBy = Literal["half_way", "folds", "known_factor", "real_nll"]
Undetermined = Literal["nothing_learned", "nothing_to_leave_out", "left_out_worse_than_chance"]


class Fitted(Record):
    """What a fit has found; the defaults are those of a network as it is, T = 1.

    Attributes:
        method: of the calibration.
        fit_on: which images or rows; None for method none.
        mask_ratio: share of pixels masked while T was fitted; None where nothing was, or the ratio
            was left open and T found without one.
        mask_patch_size: side in pixels of the patches masked, where the mask was found; None for
            single pixels.
        status: "ok", or why there is nothing to apply or not the best.
        temperature: T > 0; None where there is none, or more than one number was fitted.
        n: images fitted on.
        nll_before: mean NLL of these at T = 1, in nats; None where infinite or not fitted.
        nll_after: likewise, under what was found.
        standard_error: of log T.
        reached: where a named optimiser ended, also when that is no temperature.
        n_draws: masks drawn for each image.
        masked_accuracy: on the masked images, in [0, 1].
        found_by: how, where the ratio was left open.
        undetermined: why nothing tells the temperature, where the status says so.
        n_folds: networks trained to find it.
        half_way_temperature: T on images midway between two of different classes; None with two
            classes.
        logit_rms: of the logits about their row's mean, on the small set; of two classes alone.
        factor: temperature over that one of the two.
        left_out_accuracy: of the folds' networks on what each left out, in [0, 1].
    """

    method: CalibrationMethod = "none"
    fit_on: FitOn | None = None
    mask_ratio: float | None = None
    mask_patch_size: int | None = Field(None, exclude_if=is_none)
    status: CalibrationStatus = "ok"
    temperature: float | None = 1.0
    n: int = 0
    nll_before: float | None = None
    nll_after: float | None = None
    standard_error: float | None = None
    reached: float | None = None
    n_draws: int | None = None
    masked_accuracy: float | None = None
    found_by: FoundBy | None = None
    undetermined: Undetermined | None = Field(None, exclude_if=is_none)
    n_folds: int | None = None
    half_way_temperature: float | None = None
    logit_rms: float | None = Field(None, exclude_if=is_none)
    factor: float | None = None
    left_out_accuracy: float | None = None


class Judged(Record):
    """What the unmasked images fitted on show under what was found.

    Attributes:
        clean_accuracy: of the network, in [0, 1].
        clean_signed_gap: mean confidence - accuracy under T.
        logit_spread: mean of largest logit minus row mean.
        relative_temperature: T over that spread.
        failures: by name (`ddcal_core.calibration.failure_signatures`).
    """

    clean_accuracy: float | None = None
    clean_signed_gap: float | None = None
    logit_spread: float | None = None
    relative_temperature: float | None = None
    failures: tuple[Failure, ...] = ()


class CalibrationFindings(Judged, Fitted, VersionedRecord):
    """What a calibration has found, whatever it is of.

    Attributes:
        spec: what was asked for; None for a network as it is that nobody asked for.
    """

    KIND: ClassVar[str] = "calibration"

    spec: SerializeAsAny[Spec] | None = None

    @property
    def optimiser(self) -> Optimiser | None:
        """What solved a temperature; None where nobody could choose."""
        return self.spec.optimiser if isinstance(self.spec, TemperatureScaling) else None


class CalibrationValues(CalibrationFindings):
    """What a calibration of a network has found.

    Attributes:
        model_id: of the network.
        dataset: the name of the data set that it was trained on.
        training_set: what of it, by `source` of the train job.
        distilled_set_id: of the distilled set, where it was one.
        images_per_class: of the training set; None for the full data.
        seed_index: the network's place among those of its job.
        spec: what was asked for.
    """

    model_id: str
    dataset: str
    training_set: TrainingSource
    distilled_set_id: str | None
    images_per_class: int | None
    seed_index: int
    spec: CalibrationSpec


class _ScalingFile(VersionedRecord):
    KIND: ClassVar[str] = "scaling.json"

    fit_on: FitOn
    status: CalibrationStatus
    n: int
    apply: str | None


class VectorScalingFile(_ScalingFile):
    """scaling.json of vector scaling: K weights and biases.

    Attributes:
        masked_gap: from how far below the row's largest on a value masks its class; None where no
            class was masked.
    """

    method: Literal["vector"] = "vector"
    weights: tuple[float, ...]
    biases: tuple[float, ...]
    masked_gap: float | None = Field(None, exclude_if=is_none)


class IsotonicScalingFile(_ScalingFile):
    """scaling.json of isotonic regression: a line's knots for each class."""

    method: Literal["isotonic"] = "isotonic"
    probabilities: tuple[tuple[float, ...], ...]
    shares: tuple[tuple[float, ...], ...]


class EnsembleScalingFile(_ScalingFile):
    """scaling.json of ensemble temperature scaling: T, and the weights of its three parts.

    Attributes:
        ensemble_temperature: T of the tempered part.
        ensemble_weights: of the tempered, the plain and the uniform part, adding up to 1.
    """

    method: Literal["ets"] = "ets"
    ensemble_temperature: float
    ensemble_weights: tuple[float, float, float]


ScalingFile = VectorScalingFile | IsotonicScalingFile | EnsembleScalingFile
SCALING_FILES: Mapping[str, type[ScalingFile]] = members_of(ScalingFile, "method")
"""The methods that find more than one number -> what holds it."""


def read_scaling_file(path: Path) -> ScalingFile:
    """Read a network's scaling.json.

    Raises:
        InvalidDataError: it is none, or of a version not known here.
    """
    try:
        held = json.loads(path.read_text(encoding="utf-8"))
        record = SCALING_FILES[held["method"]]
    except (ValueError, KeyError, TypeError) as error:
        raise InvalidDataError(f"wanted a scaling in {path.name}; got: {error!r}") from error
    return read_record(record, held)
