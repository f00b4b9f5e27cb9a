"""Size and variety of the logits under the masks that MTS fits on, for each training set."""

from collections.abc import Callable, Mapping, Sequence

from ddcal_core.calibration.masked_logits import MaskedLogits
from ddcal_core.formats.report_analyses import MaskedLogitCurve, MaskedLogitPoint
from ddcal_core.specs.masks import MaskShape, MaskSpec
from worker.trainer.fitting.fitting import Fitter
from worker.trainer.report.measurements import mean_and_deviation
from worker.trainer.report.row_words import percent
from worker.trainer.report.training_sets import TrainingSet

N_IMAGES, N_DRAWS = 300, 3  # a third of what the curves of MTS cost


def masked_logit_curves(
    groups: Sequence[TrainingSet],
    fitters: Mapping[str, Fitter],
    *,
    shape: MaskShape,
    ratios: Sequence[float],
    on_network: Callable[[], None],
) -> list[MaskedLogitCurve]:
    """Ask each network about real validation images under masks of each ratio.

    Args:
        groups: the training sets.
        fitters: of each network, by its id.
        shape: what is masked as one.
        ratios: share of pixels masked, rising; of none there is no curve.
        on_network: told after each network and ratio.
    """
    curves = []
    for group in groups if ratios else ():
        points = []
        for ratio in ratios:
            found: list[MaskedLogits] = []
            for model in group.models:
                mask = MaskSpec.of(shape, ratio)
                found.append(fitters[model.id].masked_logits(mask, N_IMAGES, N_DRAWS))
                on_network()
            points.append(_point(ratio, found))
        curves.append(
            MaskedLogitCurve(
                training_set_label=group.label,
                mask=shape,
                n_draws=N_DRAWS,
                points=tuple(points),
                words=_words(group.label, points),
            )
        )
    return curves


def _point(ratio: float, found: Sequence[MaskedLogits]) -> MaskedLogitPoint:
    return MaskedLogitPoint(
        ratio=ratio,
        largest_logit=mean_and_deviation([one.mean for one in found]),
        deviation=mean_and_deviation([one.deviation for one in found]),
        over_masks=mean_and_deviation([one.over_masks for one in found]),
    )


def _words(label: str, points: Sequence[MaskedLogitPoint]) -> str:
    """Hold the most masked point against the least masked one, variety free of scale."""
    first, last = points[0], points[-1]
    if first is last:
        return f"{label}: one ratio alone tells nothing of what masks do."
    begin, end = (point.largest_logit.mean for point in (first, last))
    size = "smaller" if end < begin else "larger"
    span = f"from {percent(first.ratio, 0)} to {percent(last.ratio, 0)} masked"
    shown = [f"{value:.3g}".replace("-", "−") for value in (begin, end)]
    became = f"{label}: {span} the largest logits become {size} ({' to '.join(shown)})"
    if min(begin, end) <= 0:
        return f"{became}; where they are below 0 on average their variation has no meaning."
    before, after = first.deviation.mean / begin, last.deviation.mean / end
    variety = "more" if after > before else "less"
    says = {
        ("smaller", "more"): "as the paper says",
        ("larger", "less"): "against what the paper says",
    }.get((size, variety), "the paper says smaller and more varied")
    return (
        f"{became} and, relative to their mean, {variety} varied (deviation {percent(before, 0)} "
        f"to {percent(after, 0)} of it), {says}."
    )
