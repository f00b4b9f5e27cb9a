"""Which calibration has the lowest ECE, and whether by more than noise."""

import math
from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor
from torch.nn import functional

from ddcal_core.formats.report_analyses import Comparison, EceDifference, Rival
from ddcal_core.formats.report_rows import Row
from ddcal_core.metrics.binned import bin_index
from worker.trainer.report.measurements import Predictions
from worker.trainer.report.row_words import is_guessing, may_win, percent

N_RESAMPLES = 500
# 500 resamples of half a million rows at once would take gigabytes.
_NUMBERS_AT_ONCE = 4_000_000
# Student's t, 97.5 % point, for 1, 2, ... degrees of freedom; more take the last, a little wider.
_T975 = (
    12.7062, 4.3027, 3.1824, 2.7764, 2.5706, 2.4469, 2.3646, 2.3060, 2.2622, 2.2281, 2.2010,
    2.1788, 2.1604, 2.1448, 2.1314, 2.1199, 2.1098, 2.1009, 2.0930,
)  # fmt: skip


def ece_difference(
    one: Sequence[Predictions],
    other: Sequence[Predictions],
    *,
    n_bins: int,
    generator: torch.Generator,
) -> EceDifference:
    """Compare two calibrations of the same networks.

    Args:
        one: predictions of each network on the same test images.
        other: likewise, network by network.
        n_bins: equal-width bins of the ECE.
        generator: a CPU generator; draws the test images anew.

    Raises:
        ValueError: the two are not of as many networks.
    """
    if len(one) != len(other):
        raise ValueError(f"wanted the same networks on both sides; got {len(one)} and {len(other)}")
    gaps = [[_gaps(network, n_bins) for network in side] for side in (other, one)]
    n_images = len(one[0].confidence)
    whole = torch.ones(1, n_images, dtype=torch.float64)
    first, second = (torch.stack([_eces(whole, gap)[0] for gap in side]) for side in gaps)
    differences = first - second
    mean = float(differences.mean())
    resampled = torch.cat(
        [
            _mean_ece(draws, gaps[0]) - _mean_ece(draws, gaps[1])
            for draws in _draws(n_images, generator)
        ]
    )
    # The basic bootstrap mirrors the tails: the upper one gives the lower end.
    tails = torch.tensor([0.975, 0.025], dtype=torch.float64)
    low, high = (2 * mean - resampled.quantile(tails)).tolist()
    over_networks = _student(differences)
    intervals = [(low, high), *([over_networks] if over_networks else [])]
    is_apart = all(ends[0] > 0 for ends in intervals) or all(ends[1] < 0 for ends in intervals)
    return EceDifference(
        mean=mean,
        over_networks=over_networks,
        over_images=(low, high),
        is_more_than_noise=is_apart,
    )


def _gaps(network: Predictions, n_bins: int) -> Tensor:
    """Confidence - [right] of each image in the column of its bin: (N, n_bins)."""
    # A bin adds |sum of these| / N to the ECE, so that all resamples are one matrix product.
    gap = network.confidence - network.is_right.double()
    in_bin = functional.one_hot(bin_index(network.confidence, n_bins), n_bins).double()
    return in_bin * gap.unsqueeze(1)


def _eces(draws: Tensor, gaps: Tensor) -> Tensor:
    return (draws @ gaps).abs().sum(1) / draws.shape[1]


def _mean_ece(draws: Tensor, of_networks: Sequence[Tensor]) -> Tensor:
    return torch.stack([_eces(draws, gaps) for gaps in of_networks]).mean(0)


def _draws(n_images: int, generator: torch.Generator) -> Iterator[Tensor]:
    """How often each image comes in each resample, (draws, N), a part at a time."""
    n_at_once = max(1, _NUMBERS_AT_ONCE // n_images)
    for start in range(0, N_RESAMPLES, n_at_once):
        n_rows = min(n_at_once, N_RESAMPLES - start)
        index = torch.randint(n_images, (n_rows, n_images), generator=generator)
        counts = torch.zeros(n_rows, n_images, dtype=torch.float64)
        yield counts.scatter_add_(1, index, torch.ones_like(counts))


def _student(differences: Tensor) -> tuple[float, float] | None:
    n = len(differences)
    if n < 2:
        return None
    half = _T975[min(n - 1, len(_T975)) - 1] * float(differences.std()) / math.sqrt(n)
    mean = float(differences.mean())
    return mean - half, mean + half


def compare(
    rows: Sequence[Row],
    predictions: Mapping[str, Sequence[Predictions]],
    *,
    generator: torch.Generator,
) -> Comparison | None:
    """Put the calibration of lowest ECE beside no calibration and beside the next lowest.

    Args:
        rows: of one training set's table.
        predictions: of each network, by the row's calibration.
        generator: a CPU generator.

    Returns:
        None where there is nothing to compare, or the networks guess. A calibration that costs
        accuracy or a class is not compared, nor one that some of the networks do not have.
    """
    if any(is_guessing(row) for row in rows):
        return None
    n_networks = max((row.n_networks for row in rows), default=0)
    wins = [row for row in rows if may_win(row) and row.n_networks == n_networks]
    fitted = sorted(wins, key=lambda row: row.ece.mean)
    if len(fitted) < 2:
        return None
    best = fitted[0]
    # No calibration is a rival even where others lie between; it counts once where it is the next.
    reference = [row for row in fitted[1:] if row.method == "none"]
    rivals = list({row.calibration: row for row in (*reference, fitted[1])}.values())
    found = [
        ece_difference(
            predictions[best.calibration],
            predictions[row.calibration],
            n_bins=best.n_bins,
            generator=generator,
        )
        for row in rivals
    ]
    said = [_rival_words(row, one) for row, one in zip(rivals, found, strict=True)]
    return Comparison(
        training_set_label=best.training_set_label,
        winner=best.calibration,
        ece=best.ece,
        n_compared=len(fitted),
        n_networks=best.n_networks,
        rivals=tuple(
            Rival(calibration=row.calibration, **dict(one))
            for row, one in zip(rivals, found, strict=True)
        ),
        words=" ".join([_start(best, len(fitted)), *said]),
    )


def _start(best: Row, n_compared: int) -> str:
    name = "No calibration" if best.method == "none" else best.calibration
    return (
        f"{best.training_set_label}: {name} has the lowest ECE of {n_compared} rows compared, "
        f"{percent(best.ece.mean)}."
    )


def _rival_words(row: Row, difference: EceDifference) -> str:
    rival = "no calibration" if row.method == "none" else row.calibration
    over = [f"{_range(difference.over_images)} over test images"]
    if difference.over_networks is not None:
        over.append(f"{_range(difference.over_networks)} over {row.n_networks} networks")
    verdict = "more than noise" if difference.is_more_than_noise else "not more than noise"
    if difference.over_networks is None:
        verdict += ", though one network says nothing about others"
    return (
        f"It is lower than {rival} by {_points(difference.mean)} points (95\u202f% intervals: "
        f"{', '.join(over)}): {verdict}."
    )


def _range(ends: tuple[float, float]) -> str:
    return f"{_points(ends[0])} to {_points(ends[1])}"


def _points(fraction: float) -> str:
    return percent(fraction).rstrip("%").rstrip()
