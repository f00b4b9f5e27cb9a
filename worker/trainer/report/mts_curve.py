"""ECE on test over the mask ratio of MTS."""

from collections import Counter
from collections.abc import Callable, Sequence

from ddcal_core.formats.calibrations import FitOn, Fitted
from ddcal_core.formats.report_analyses import CurveNetwork, CurvePoint, MtsCurve
from ddcal_core.specs.masks import MaskShape, MaskSpec
from worker.trainer.fitting.fitting import Fitter
from worker.trainer.report.measurements import mean_and_deviation, open_mean_and_deviation

# The curve fits, but never sees a test label itself.
MeasureFit = Callable[[str, Fitted], tuple[float, float]]
"""(model id, what a fit found) -> the network's ECE and signed gap on test."""


def mts_curve(
    fitters: Sequence[tuple[str, Fitter]],
    *,
    label: str,
    fit_on: FitOn,
    shape: MaskShape,
    ratios: Sequence[float],
    measure_fit: MeasureFit,
    on_point: Callable[[], None],
) -> MtsCurve:
    """Fit T on masked images at each ratio and measure the ECE on test.

    Args:
        fitters: (model id, fitter) of each network of one training set.
        label: of the training set.
        fit_on: "training_set" or "validation".
        shape: what is masked as one.
        ratios: share of pixels masked; 0 is plain TS.
        measure_fit: the test side.
        on_point: told after each network and ratio.
    """
    points = []
    for ratio in sorted(ratios):
        networks = []
        for model_id, fitter in fitters:
            found = fitter.fit_masked(fit_on, MaskSpec.of(shape, ratio))
            # No null level here: it would cost as much as the fit, at every point.
            ece, signed_gap = measure_fit(model_id, found)
            networks.append(
                CurveNetwork(
                    model_id=model_id,
                    status=found.status,
                    temperature=found.temperature,
                    masked_accuracy=found.masked_accuracy,
                    ece=ece,
                    signed_gap=signed_gap,
                )
            )
            on_point()
        points.append(_point(ratio, networks))
    return MtsCurve(training_set_label=label, fit_on=fit_on, mask=shape, points=tuple(points))


def _point(ratio: float, networks: Sequence[CurveNetwork]) -> CurvePoint:
    temperatures = [one.temperature for one in networks if one.temperature is not None]
    return CurvePoint(
        ratio=ratio,
        ece=mean_and_deviation([one.ece for one in networks]),
        signed_gap=mean_and_deviation([one.signed_gap for one in networks]),
        temperature=open_mean_and_deviation(temperatures),
        masked_accuracy=open_mean_and_deviation([one.masked_accuracy for one in networks]),
        statuses=dict(Counter(one.status for one in networks)),
        networks=tuple(networks),
    )
