"""What a report holds beside its table: curves, comparisons, and the two causes of the paper."""

from pydantic import Field

from ddcal_core.formats.calibrations import CalibrationStatus, FitOn
from ddcal_core.formats.records import Record, is_empty
from ddcal_core.formats.report_rows import OpenSummary, Summary
from ddcal_core.specs.evaluation import Probe
from ddcal_core.specs.fields import is_none
from ddcal_core.specs.masks import MaskShape


class CurveNetwork(Record):
    """One network at one point of an MTS curve.

    Attributes:
        model_id: of the network.
        status: of the fit.
        temperature: T > 0; None where there is none.
        masked_accuracy: on the masked images, in [0, 1].
        ece: on test, in [0, 1].
        signed_gap: mean confidence - accuracy on test, in [-1, 1].
    """

    model_id: str
    status: CalibrationStatus
    temperature: float | None
    masked_accuracy: float | None
    ece: float
    signed_gap: float


class CurvePoint(Record):
    """The networks of one training set at one mask ratio.

    Attributes:
        ratio: share of pixels masked while T was fitted, in [0, 1); 0 is plain TS.
        ece: on test, in [0, 1].
        signed_gap: mean confidence - accuracy on test, in [-1, 1].
        temperature: over networks for which one was found.
        masked_accuracy: on the masked images, in [0, 1].
        statuses: how many networks have each.
        networks: one by one.
    """

    ratio: float
    ece: Summary
    signed_gap: Summary
    temperature: OpenSummary
    masked_accuracy: OpenSummary
    statuses: dict[CalibrationStatus, int]
    networks: tuple[CurveNetwork, ...]


class MtsCurve(Record):
    """ECE on test over the mask ratio of MTS.

    Attributes:
        training_set_label: whose networks these are.
        fit_on: "training_set" or "validation".
        mask: what is masked as one.
        points: by rising ratio.
    """

    training_set_label: str
    fit_on: FitOn
    mask: MaskShape
    points: tuple[CurvePoint, ...]


class MaskedLogitPoint(Record):
    """Largest logits of one training set's networks on validation images under masks of one ratio.

    Attributes:
        ratio: share of pixels masked, in [0, 1).
        largest_logit: mean over images and masks.
        deviation: over all images under all masks, with n - 1.
        over_masks: of one image from mask to mask, the root of its mean square over images.
    """

    ratio: float
    largest_logit: Summary
    deviation: Summary
    over_masks: Summary


class MaskedLogitCurve(Record):
    """Size and variety of the largest logits over the mask ratio.

    Attributes:
        training_set_label: whose networks these are.
        mask: what is masked as one.
        n_draws: masks of each image.
        points: by rising ratio.
        words: what they show, in a sentence.
    """

    training_set_label: str
    mask: MaskShape
    n_draws: int
    points: tuple[MaskedLogitPoint, ...]
    words: str


class AccuracyDifference(Record):
    """How much more accurate one training set's networks are than another's.

    Attributes:
        beside: label of the training set that the distilled one is held against.
        mean: difference of the mean accuracies, in [-1, 1].
        deviation: of the difference between two networks, one of each; None for one network.
    """

    beside: str
    mean: float
    deviation: float | None


class RankingScores(Record):
    """A distilled set by the two measures of DD-Ranking (arXiv 2505.13300), as fractions.

    Attributes:
        training_set_label: whose networks these are, trained on hard labels.
        hard_label_recovery: accuracy on the full data less that on the set; None where no networks
            on the full data were trained alike.
        improvement_over_random: accuracy on the set less that on as many random real images;
            likewise.
    """

    training_set_label: str
    hard_label_recovery: AccuracyDifference | None
    improvement_over_random: AccuracyDifference | None


class ProbeScores(Record):
    """How often a linear probe of one training set's networks is right on held-out images.

    Attributes:
        probe: what it tells.
        chance: share of right answers by guessing.
        accuracy: in [0, 1].
        untrained: likewise, on networks of the same kind with their first parameters.
        shuffled: likewise, of targets given to images at random.
        networks: `accuracy` of each network; empty in earlier reports.
    """

    probe: Probe
    chance: float
    accuracy: Summary
    untrained: Summary
    shuffled: Summary
    networks: tuple[float, ...] = Field((), exclude_if=is_empty)


class ProbeAnalysis(Record):
    """What beside the class can be read off the features of one training set's networks.

    Attributes:
        training_set_label: whose networks these are.
        probes: in the order asked for.
    """

    training_set_label: str
    probes: tuple[ProbeScores, ...]


class AttributionScores(Record):
    """What one network's integrated gradients say, means over images, each in [0, 1].

    Attributes:
        concentration: Gini coefficient of their sizes over pixels.
        deletion: area under the probability of the answer as pixels are taken out, those that
            count most first.
        insertion: likewise, as pixels are put into the mean image.
        random_order: likewise, as pixels are taken out in a random order.
    """

    concentration: float
    deletion: float
    insertion: float
    random_order: float


class AttributionAnalysis(Record):
    """Which pixels one training set's networks go by.

    Attributes:
        training_set_label: whose networks these are.
        n_images: validation images explained.
        networks: one by one.
    """

    training_set_label: str
    n_images: int
    networks: tuple[AttributionScores, ...]


class CalibrationNamed(Record):
    """A calibration by the name that its row has."""

    calibration: str


class EceDifference(Record):
    """How much lower one calibration's ECE is than another's, on the same networks and images.

    Attributes:
        mean: of the ECEs' differences over networks, other minus this, in [-1, 1]; above 0 is
            lower.
        over_networks: 95 % interval by Student's t; None for one network.
        over_images: 95 % interval by the basic bootstrap over test images.
        is_more_than_noise: every interval there is leaves 0 out, on one side.
    """

    mean: float
    over_networks: tuple[float, float] | None
    over_images: tuple[float, float]
    is_more_than_noise: bool


class Rival(EceDifference, CalibrationNamed):
    """A calibration that the winner is compared with."""


class Comparison(Record):
    """Which calibration of a training set has the lowest ECE, and whether by more than noise.

    Attributes:
        training_set_label: whose networks these are.
        winner: calibration of lowest ECE on test.
        ece: its own.
        n_compared: calibrations that have something to apply, `none` among them.
        n_networks: of the training set.
        rivals: no calibration and the next lowest, or one of them.
        words: the comparison in sentences.
    """

    training_set_label: str
    winner: str
    ece: Summary
    n_compared: int
    n_networks: int
    rivals: tuple[Rival, ...]
    words: str


class Spread(Record):
    """How one number of each prediction is spread.

    Attributes:
        mean: over predictions; its mean and deviation over networks, as below.
        deviation: with n - 1.
        coefficient_of_variation: deviation over mean, which does not change with the logits'
            scale; none where a mean is not above 0.
        quantiles: of all networks' predictions, by their share ("0.05").
        edges: M + 1 of them, the same for all training sets of a report.
        counts: predictions of all networks in each of M bins.
    """

    mean: Summary
    deviation: Summary
    coefficient_of_variation: OpenSummary
    quantiles: dict[str, float]
    edges: tuple[float, ...]
    counts: tuple[int, ...]


class LogitAnalysis(Record):
    """Logits of one training set's networks on test, as trained (T = 1).

    Attributes:
        training_set_label: whose networks these are.
        largest_logit: of each prediction.
        margin: largest logit minus the second largest, >= 0.
    """

    training_set_label: str
    largest_logit: Spread
    margin: Spread


class SetSpectrum(Record):
    """The singular values of one set of images, a flattened image per row.

    Attributes:
        cumulative_energy: share of the sum of squares that the first 1, 2, ... hold, to 1.
        effective_rank: exp of the entropy of the squares' shares.
        effective_rank_of_values: exp of the entropy of the values' own shares, as Roy and Vetterli
            (EUSIPCO 2007) define it; None in earlier reports.
        relative_values: each over the largest, in [0, 1], largest first.
    """

    cumulative_energy: tuple[float, ...]
    effective_rank: float
    effective_rank_of_values: float | None = Field(None, exclude_if=is_none)
    relative_values: tuple[float, ...]


class Band(Record):
    """Curves of several sets of images, place by place: mean, lowest and highest."""

    mean: tuple[float, ...]
    lowest: tuple[float, ...]
    highest: tuple[float, ...]


class RealSpectra(Record):
    """The spectra of random real sets, in the fields of `SetSpectrum`."""

    effective_rank: Summary
    effective_rank_of_values: Summary | None = Field(None, exclude_if=is_none)
    relative_values: Band
    cumulative_energy: Band


class SpectraBeside(Record):
    """A distilled set's spectrum beside those of random real sets of its size."""

    distilled: SetSpectrum
    real: RealSpectra


class SpectrumAnalysis(Record):
    """How rich a distilled set is beside random real sets.

    Attributes:
        training_set_label: of the distilled set.
        n_images: of each set.
        n_real_sets: drawn anew.
        as_they_are: of the images in network-input space.
        centred: of the images less their mean image.
    """

    training_set_label: str
    n_images: int
    n_real_sets: int
    as_they_are: SpectraBeside
    centred: SpectraBeside
