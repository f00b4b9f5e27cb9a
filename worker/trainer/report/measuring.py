"""What every measurement of one report shares."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from ddcal_core.formats.calibrations import CalibrationFindings, Fitted
from ddcal_core.seeding import seeded_generator
from worker.trainer.fitting.calibrations import Found
from worker.trainer.report.measurements import (
    Measurement,
    Predictions,
    ece_and_gap,
    measure,
    predict,
)


@dataclass(frozen=True)
class NetworkMeasurer:
    """Measures networks on the same rows, in the same bins, by the same draws.

    Attributes:
        logits: of each network on what is measured on, (N, K) on the CPU, by model id.
        labels: int64 (N,) on the CPU.
        n_bins: of the ECE.
        seed: of the null level's draws.
    """

    logits: Mapping[str, Tensor]
    labels: Tensor
    n_bins: int
    seed: int

    def measure(self, model_id: str, found: Found[CalibrationFindings]) -> Measurement:
        """Measure one network under what one calibration found."""
        logits = self.logits[model_id]
        after = measure(
            found.scores(logits),
            self.labels,
            status=found.values.status,
            temperature=found.values.temperature,
            n_bins=self.n_bins,
            # The same draws for every network and calibration: rows differ by confidences alone.
            generator=seeded_generator(self.seed, "null"),
        )
        if found.has_impossible(logits, self.labels):
            return dataclasses.replace(after, nll=None)
        return after

    def predict(self, model_id: str, found: Found[CalibrationFindings]) -> Predictions:
        """Give one network's predictions under what one calibration found."""
        return predict(
            found.scores(self.logits[model_id]),
            self.labels,
            status=found.values.status,
            temperature=found.values.temperature,
        )

    def ece_and_gap(self, model_id: str, fitted: Fitted) -> tuple[float, float]:
        """Give ECE and signed gap of one network under a temperature's fit."""
        return ece_and_gap(
            self.logits[model_id],
            self.labels,
            status=fitted.status,
            temperature=fitted.temperature,
            n_bins=self.n_bins,
        )
