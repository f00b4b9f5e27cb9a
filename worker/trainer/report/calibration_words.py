"""A calibration's name for people."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Literal

from ddcal_core.calibration.temperature import Method
from ddcal_core.formats.calibrations import (
    CalibrationFindings,
    CalibrationMethod,
)
from ddcal_core.specs.calibration import MaskedTemperatureScaling
from ddcal_core.specs.masks import AutoMask, MaskSpec
from worker.trainer.report.mask_words import mask_words

METHOD_LABELS: Mapping[CalibrationMethod, str] = {
    "none": "none",
    "ts": "TS",
    "mts": "MTS",
    "vector": "vector scaling",
    "isotonic": "isotonic regression",
    "ets": "ETS",
}
OPTIMISER_LABELS: Mapping[Method, str] = {
    "exact": METHOD_LABELS["ts"],
    "lbfgs_50": "TS by 50 steps of L-BFGS",
    "lbfgs_200": "TS by 200 steps of L-BFGS",
}


CARRIED = "T carried with the set"
# Nothing is masked where the temperature is found without a ratio. Networks of a row may differ in
# what told theirs.
_FOUND_LABELS: Mapping[Literal["known_factor", "folds", "half_way"], str] = {
    "known_factor": CARRIED,
    "folds": "T from the set alone",
    "half_way": "T from the set alone",
}


def calibration_labels(of_one_network: Sequence[CalibrationFindings]) -> list[str]:
    """Name a network's calibrations, each unlike the others, in their order.

    Two may read alike, as the same calibration under two seeds does: the second is "... #2".
    """
    seen: Counter[str] = Counter()
    labels = []
    for values in of_one_network:
        label = calibration_label(values)
        seen[label] += 1
        labels.append(label if seen[label] == 1 else f"{label} #{seen[label]}")
    return labels


def calibration_label(values: CalibrationFindings) -> str:
    """Name a calibration for people: "none", "TS on validation", "MTS 70 % on training set"."""
    if values.method == "none":
        return METHOD_LABELS["none"]
    if values.found_by is not None and values.found_by != "real_nll":
        return _FOUND_LABELS[values.found_by]
    optimiser = values.optimiser
    name = METHOD_LABELS[values.method] if optimiser is None else OPTIMISER_LABELS[optimiser]
    return f"{name}{_mask_label(values)} on {str(values.fit_on).replace('_', ' ')}"


def _mask_label(values: CalibrationFindings) -> str:
    match values.spec:
        case MaskedTemperatureScaling(mask=AutoMask()):
            return ", ratio found,"
        case MaskedTemperatureScaling(mask=MaskSpec() as mask, draws_per_image=n_draws):
            return f" {mask_words(mask)}" + (f", {n_draws} draws an image" if n_draws else "")
        case _:
            return ""
