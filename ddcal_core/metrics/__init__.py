"""How good and how calibrated predictions are.

Confidence is the largest probability, the prediction the first class that has it. Bins are (a, b]
on [0, 1], 0 in the first, 15 of them by default; empty ones add nothing; sums are float64 or
exact. The order of samples does not matter beyond rounding. Errors on bins of equal width come
from sums that add (`BinSums`, `ClasswiseSums`), and so from shards and streams; those on bins of
equal mass, `area_under_risk_coverage` and `smooth_calibration_error` need all samples at once.
"""

from ddcal_core.metrics.binned import N_BINS, BinSums, LargestGap, ReliabilityBins
from ddcal_core.metrics.classwise import (
    ClasswiseSums,
    classwise_calibration_error,
    classwise_sums,
)
from ddcal_core.metrics.equal_mass import adaptive_calibration_error, debiased_calibration_error
from ddcal_core.metrics.equal_width import (
    bin_sums,
    bin_sums_of_logits,
    expected_calibration_error,
    maximum_calibration_error,
    reliability_bins,
    root_mean_square_calibration_error,
)
from ddcal_core.metrics.ranking import area_under_risk_coverage
from ddcal_core.metrics.sampling import EceInterval, NullLevel, ece_interval, null_level
from ddcal_core.metrics.scores import (
    Z95,
    accuracy,
    brier_score,
    check_logits,
    check_scores,
    negative_log_likelihood,
    probabilities_at,
    signed_calibration_gap,
    wilson_interval,
)
from ddcal_core.metrics.smooth import smooth_calibration_error

__all__ = [
    "N_BINS",
    "Z95",
    "BinSums",
    "ClasswiseSums",
    "EceInterval",
    "LargestGap",
    "NullLevel",
    "ReliabilityBins",
    "accuracy",
    "adaptive_calibration_error",
    "area_under_risk_coverage",
    "bin_sums",
    "bin_sums_of_logits",
    "brier_score",
    "check_logits",
    "check_scores",
    "classwise_calibration_error",
    "classwise_sums",
    "debiased_calibration_error",
    "ece_interval",
    "expected_calibration_error",
    "maximum_calibration_error",
    "negative_log_likelihood",
    "null_level",
    "probabilities_at",
    "reliability_bins",
    "root_mean_square_calibration_error",
    "signed_calibration_gap",
    "smooth_calibration_error",
    "wilson_interval",
]
