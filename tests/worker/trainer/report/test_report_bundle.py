"""What a report adds to its table: comparisons, analyses, the CSV of predictions."""

import csv
import gzip

import numpy as np
import pytest
import torch
from scipy import stats

from ddcal_core.formats.calibrations import CalibrationFindings
from ddcal_core.formats.report_rows import Summary
from ddcal_core.formats.reports import read_report
from ddcal_core.seeding import seeded_generator
from tests.core.formats.stored import stored
from worker.trainer.report.analyses import (
    logit_analysis,
    logit_words,
    spectrum_analysis,
    spectrum_words,
)
from worker.trainer.report.comparison import N_RESAMPLES, compare, ece_difference
from worker.trainer.report.measurements import Predictions, predict
from worker.trainer.report.prediction_table import COLUMNS, safe_cell, write_predictions
from worker.trainer.report.rows import Measured
from worker.trainer.report.training_sets import Network, TrainingSet


def predictions(n, seed, *, over=0.0):
    """Predictions of a network whose confidence exceeds its chance of being right by `over`."""
    generator = seeded_generator(0, "confidence", seed)
    chance = 0.5 + 0.4 * torch.rand(n, generator=generator, dtype=torch.float64)
    is_right = torch.rand(n, generator=generator, dtype=torch.float64) < chance
    return Predictions((chance + over).clamp(max=1), torch.zeros(n, dtype=torch.int64), is_right)


def ece_by_loop(confidence, is_right, n_bins):
    """ECE by its definition."""
    place = np.clip(np.ceil(confidence * n_bins).astype(int) - 1, 0, n_bins - 1)
    return sum(abs((confidence - is_right)[place == m].sum()) for m in range(n_bins)) / len(place)


def difference_of(one, other, n_bins=10):
    """The difference from generator 0."""
    return ece_difference(one, other, n_bins=n_bins, generator=seeded_generator(0))


def test_a_difference_is_that_of_the_eces():
    """Mean over networks, Student's interval as scipy gives it, of ECEs by a loop."""
    one = [predictions(300, seed, over=0.02) for seed in range(4)]
    other = [predictions(300, seed, over=0.09) for seed in range(4)]
    found = difference_of(one, other)
    eces = [
        [ece_by_loop(p.confidence.numpy(), p.is_right.numpy(), 10) for p in side]
        for side in (one, other)
    ]
    each = np.subtract(eces[1], eces[0])
    low, high = stats.t.interval(0.95, 3, each.mean(), each.std(ddof=1) / 2)
    assert found.mean == pytest.approx(each.mean())
    assert found.over_networks == pytest.approx((low, high), abs=1e-5)


def test_the_bootstrap_is_that_of_whole_images():
    """The basic interval of resampled images, all networks on the same ones, by a slow loop."""
    one, other = ([predictions(60, seed, over=over) for seed in range(2)] for over in (0, 0.3))
    found = difference_of(one, other)
    index = torch.randint(60, (N_RESAMPLES, 60), generator=seeded_generator(0)).numpy()
    resampled = [
        np.mean(
            [
                ece_by_loop(b.confidence.numpy()[draw], b.is_right.numpy()[draw], 10)
                - ece_by_loop(a.confidence.numpy()[draw], a.is_right.numpy()[draw], 10)
                for a, b in zip(one, other, strict=True)
            ]
        )
        for draw in index
    ]
    low, high = 2 * found.mean - np.quantile(resampled, [0.975, 0.025])
    assert found.over_images == pytest.approx((low, high))


@pytest.mark.parametrize("n_networks", [2, 3, 5, 20, 21])
def test_students_points_are_scipys(n_networks):
    """For as many networks as a job trains; more take the last, wider one."""
    one = [predictions(40, seed) for seed in range(n_networks)]
    other = [predictions(40, seed + 50, over=0.2) for seed in range(n_networks)]
    found = difference_of(one, other)
    each = [difference_of([a], [b]).mean for a, b in zip(one, other, strict=True)]
    half = (found.over_networks[1] - found.over_networks[0]) / 2
    point = half / (np.std(each, ddof=1) / np.sqrt(n_networks))
    assert point == pytest.approx(stats.t.ppf(0.975, min(n_networks - 1, 19)), rel=1e-4)


def test_a_calibration_beside_itself_is_noise():
    """No difference, and none is claimed."""
    one = [predictions(100, seed) for seed in range(3)]
    found = difference_of(one, one)
    assert (found.mean, found.over_images, found.is_more_than_noise) == (0, (0, 0), False)


@pytest.mark.parametrize(("over", "expected"), [(0.3, True), (0.005, False)])
def test_more_than_noise_is_what_both_intervals_say(over, expected):
    """A large shift of confidence is found, one far below what 200 images tell is not."""
    one = [predictions(200, seed) for seed in range(3)]
    other = [predictions(200, seed, over=over) for seed in range(3)]
    assert difference_of(one, other).is_more_than_noise is expected


def test_networks_that_disagree_are_noise():
    """A gain on one network that is a loss on the other is not claimed, whatever the images say."""
    good, bad = predictions(400, 0), predictions(400, 0, over=0.3)
    found = difference_of([good, good, bad], [bad, bad, good])
    assert found.over_images[0] > 0
    assert found.over_networks[0] < 0
    assert not found.is_more_than_noise


STORED_ROW = read_report(stored("report")).rows[0]


def row(calibration, ece, method="ts", n_networks=2, status="ok"):
    """A row of the table, as far as a comparison reads it."""
    return STORED_ROW.model_copy(
        update={
            "training_set_label": "distilled",
            "calibration": calibration,
            "method": method,
            "status": status,
            "n_bins": 10,
            "n_networks": n_networks,
            "ece": Summary(mean=ece, std=0.01),
        }
    )


def test_the_winner_is_compared_with_nothing_and_the_next():
    """Rows without temperature take no part; none and the runner-up are the rivals."""
    rows = [
        row("none", 0.3, "none"),
        row("A", 0.02),
        row("B", 0.05),
        row("C", 0.0, status="separable"),
    ]
    shown = {
        name: [predictions(300, seed, over=over) for seed in range(2)]
        for name, over in (("none", 0.3), ("A", 0.0), ("B", 0.03))
    }
    found = compare(rows, shown, generator=seeded_generator(0))
    assert (found.winner, found.n_compared) == ("A", 3)
    assert [rival.calibration for rival in found.rivals] == ["none", "B"]
    assert found.words.startswith(
        "distilled: A has the lowest ECE of 3 rows compared, 2.0\u202f%. It is"
    )
    assert "than no calibration by" in found.words
    assert "over 2 networks" in found.words


def test_no_calibration_can_win():
    """Then only the next is a rival; one row alone is no comparison."""
    rows = [row("none", 0.01, "none", 1), row("A", 0.02, "ts", 1)]
    shown = {name: [predictions(300, 0, over=over)] for name, over in (("none", 0), ("A", 0.3))}
    found = compare(rows, shown, generator=seeded_generator(0))
    assert found.words.startswith("distilled: No calibration has the lowest ECE of 2")
    assert "more than noise, though one network says nothing about others." in found.words
    assert found.rivals[0].over_networks is None
    assert compare(rows[:1], shown, generator=seeded_generator(0)) is None


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r", "\n", "＝", "  ="])
def test_no_cell_is_a_formula(start):
    """Text that a spreadsheet would run is quoted; other text is left as it is."""
    assert safe_cell(f"{start}1+1") == f"'{start}1+1"
    assert safe_cell(f"a{start}1") == f"a{start}1"
    assert safe_cell("") == ""


def test_the_table_of_predictions_survives_any_class_name(tmp_path):
    """Commas, quotes and line breaks are read back; a formula comes back as text."""
    names = ["=HYPERLINK(1)", 'a,"b"\nc', "-1"]
    model = Network("mdl_a", seed=0, seed_index=3)
    group = TrainingSet("@set", "", (model,))
    values = CalibrationFindings()
    logits, labels = torch.tensor([[5.0, 0, 0], [0, 5, 0], [0, 5, 0]]), torch.tensor([0, 1, 2])
    shown = predict(logits, labels, status="ok", temperature=2.0)
    measured = Measured(model, None, values, None, None, "none")
    path = tmp_path / "predictions.csv.gz"
    write_predictions(path, [group], [(measured, shown)], labels=labels, class_names=names)
    with gzip.open(path, "rt", encoding="utf-8", newline="") as file:
        header, *lines = csv.reader(file)
    assert tuple(header) == COLUMNS
    confidence = f"{np.exp(2.5) / (np.exp(2.5) + 2):.9g}"
    head = ["", "mdl_a", "'@set", "none", "3"]
    assert lines == [
        [*head, "0", "0", "'=HYPERLINK(1)", "0", "'=HYPERLINK(1)", confidence, "1"],
        [*head, "1", "1", 'a,"b"\nc', "1", 'a,"b"\nc', confidence, "1"],
        [*head, "2", "2", "'-1", "1", 'a,"b"\nc', confidence, "0"],
    ]


@pytest.mark.parametrize(
    ("status", "temperature", "expected"),
    [("ok", 2.0, None), ("separable", None, 1.0), ("worse_than_chance", None, 1 / 3)],
)
def test_predictions_of_a_limit_are_those_of_the_limit(status, temperature, expected):
    """Confidence 1 for T to 0, 1 / K for T to infinity; the prediction is the logits' own."""
    logits = torch.tensor([[5.0, 0, 1], [0, 1, 9]])
    shown = predict(logits, torch.tensor([0, 1]), status=status, temperature=temperature)
    assert shown.predicted.tolist() == [0, 2]
    assert shown.is_right.tolist() == [True, False]
    if expected is not None:
        assert shown.confidence.tolist() == pytest.approx([expected] * 2)


def groups_of(*labels):
    """Training sets of two networks each."""
    return [
        TrainingSet(label, "", tuple(Network(f"{label}{k}") for k in range(2))) for label in labels
    ]


def analysed(first_spread, second_spread):
    """The logit analysis of two training sets whose largest logits spread so about 10."""
    logits = {}
    for label, spread in (("a", first_spread), ("b", second_spread)):
        for k in range(2):
            top = 10 + spread * torch.randn(500, generator=seeded_generator(0, label, k))
            logits[f"{label}{k}"] = torch.stack([top, top - 4, top - 5], 1)
    return logit_analysis(groups_of("a", "b"), logits)


def test_logits_are_pooled_on_common_axes():
    """Means over networks are numpy's, histograms hold every prediction, margins are exact."""
    first, second = analysed(1.0, 2.0)
    assert first.largest_logit.edges == second.largest_logit.edges
    assert sum(first.largest_logit.counts) == 1000
    assert first.margin.mean.mean == pytest.approx(4, abs=1e-5)
    assert second.largest_logit.deviation.mean == pytest.approx(2, rel=0.1)
    assert logit_analysis(groups_of("a"), {f"a{k}": torch.ones(3, 1) for k in range(2)}) == []


@pytest.mark.parametrize(
    ("first", "second", "words"),
    [
        (1.0, 2.0, ": more concentrated, as the paper says"),
        (2.0, 1.0, ": less concentrated, against what the paper says"),
        (1.0, 1.0, "no more of a difference than between networks"),
    ],
)
def test_logits_are_judged_by_what_networks_differ(first, second, words):
    """The claim is checked one way and the other, and left open within the networks' spread."""
    assert words in logit_words(analysed(first, second))
    assert "One training set alone" in logit_words(analysed(first, second)[:1])


def test_a_poor_set_is_told_from_a_rich_one():
    """Images in few directions are more concentrated than random ones; random ones are alike."""
    sets = [torch.randn(12, 1, 5, 5, generator=seeded_generator(k)) for k in range(7)]
    basis = torch.randn(2, 1, 5, 5, generator=seeded_generator(9))
    weights = torch.randn(12, 2, generator=seeded_generator(10))
    poor = torch.einsum("nk,kchw->nchw", weights, basis)
    told = spectrum_analysis("set", poor, sets[:5])
    assert ": more concentrated, as the paper says" in spectrum_words([told])
    assert told.as_they_are.distilled.effective_rank < 2.1
    assert len(told.centred.real.cumulative_energy.mean) == 12
    band = told.centred.real.relative_values
    assert all(low <= high for low, high in zip(band.lowest, band.highest, strict=True))
    rich = spectrum_analysis("set", sets[0], [poor + 1e-3 * one for one in sets[1:5]])
    assert ": richer, against what the paper says" in spectrum_words([rich])
