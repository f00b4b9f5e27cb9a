"""Differences, series, heat maps and the best: against loops over the numbers put in."""

from typing import get_args

import numpy as np
import pytest
from scipy import stats

from ddcal_core.formats.comparisons import read_comparison
from ddcal_core.formats.report_rows import FURTHER, METRICS
from ddcal_core.formats.reports import read_report
from ddcal_core.specs.decision_rules import RuleMetric
from ddcal_core.specs.evaluation import Probe
from tests.worker.small_jobs import file_of, run_kind
from tests.worker.trainer.comparing.made_reports import LABEL, made_report, written
from worker.trainer.comparing.cells import analysed
from worker.trainer.comparing.words import METRIC_WORDS

NO_NUMBER = {"mean": 0.5, "std": None}

RATIO, PER_CLASS = "distill.mask.ratio", "distill.images_per_class"
RATIOS, SEEDS = (0.0, 0.3, 0.6), (5, 6, 7, 8)


def numbers(ratio, seed, per_class=1):
    """ECE and accuracy of two networks of a set; made up, the same each time."""
    draw = np.random.default_rng([int(10 * ratio), seed, per_class]).normal(0, 0.01, 4)
    ece = 0.2 - 0.3 * ratio + 0.4 * ratio**2 + 0.02 * per_class + draw[:2]
    accuracy = 0.7 - 0.2 * (ratio > 0.5) + draw[2:]
    return [{"ece": e, "accuracy": a} for e, a in zip(ece.tolist(), accuracy.tolist(), strict=True)]


def comparison(tmp_path, settings, reports, **params):
    """The record of a comparison."""
    asked = [{"report": f"rep_{k:026d}", "settings": one} for k, one in enumerate(settings)]
    inputs = {"reports": written(tmp_path / "in", reports)}
    (output,) = run_kind("compare", {"reports": asked, **params}, inputs, tmp_path / "out")
    return read_comparison(file_of(output, "comparison.json").read_bytes())


def by_seed(metric, ratio, per_class=1):
    """The mean over networks of each seed."""
    of_seeds = [[one[metric] for one in numbers(ratio, seed, per_class)] for seed in SEEDS]
    return np.array(of_seeds).mean(1)


@pytest.fixture(scope="module")
def crossed(tmp_path_factory):
    """Three ratios, two sizes, four seeds, with MTS curves."""
    settings = [
        {RATIO: ratio, PER_CLASS: per_class, "seed": seed}
        for per_class in (1, 10)
        for ratio in RATIOS
        for seed in SEEDS
    ]
    reports = []
    for one in settings:
        of_cell = numbers(one[RATIO], one["seed"], one[PER_CLASS])
        curve = {r: [n["ece"] * (1 - r) for n in of_cell] for r in (0.0, 0.5)}
        rows = {"none": of_cell, "ts": [n | {"ece": n["ece"] / 2} for n in of_cell]}
        reports.append(made_report(rows, curve=curve))
    return comparison(tmp_path_factory.mktemp("crossed"), settings, reports)


def test_each_setting_is_compared_with_its_base_all_else_equal(crossed):
    """By the paired t test over seeds, each the mean of its networks."""
    assert crossed.base == {RATIO: 0.0, PER_CLASS: 1}
    found = {
        (one.metric, one.of.calibration, one.of.settings[RATIO], one.of.settings[PER_CLASS]): one
        for one in crossed.differences
        if one.against.settings[RATIO] == 0.0
        and one.against.settings[PER_CLASS] == one.of.settings[PER_CLASS]
    }
    for metric in ("ece", "accuracy"):
        for ratio in RATIOS[1:]:
            for per_class in (1, 10):
                one = found[metric, "as trained", ratio, per_class]
                sides = by_seed(metric, ratio, per_class), by_seed(metric, 0.0, per_class)
                wanted = stats.ttest_rel(*sides)
                assert (one.n, one.unit) == (4, "seed")
                assert one.values == pytest.approx(sides[0] - sides[1])
                assert one.mean == pytest.approx(np.mean(sides[0] - sides[1]))
                assert one.interval == pytest.approx(tuple(wanted.confidence_interval(0.95)))
                assert one.p == pytest.approx(wanted.pvalue)
    sizes = [
        one
        for one in crossed.differences
        if one.against.settings[PER_CLASS] != one.of.settings[PER_CLASS]
    ]
    assert {one.of.settings[RATIO] for one in sizes} == {
        one.against.settings[RATIO] for one in sizes
    }
    # Two sizes at three ratios and two ratios at two sizes; ECE of two calibrations, and accuracy.
    assert len(crossed.differences) == (3 + 4) * 3


def test_a_series_has_its_means_its_best_and_its_fall(crossed):
    """The dots are the seeds; accuracy falls at .6 alone, where .2 was taken off."""
    (ece,) = [
        one
        for one in crossed.series
        if (one.path, one.metric, one.calibration, one.held)
        == (RATIO, "ece", "as trained", {PER_CLASS: 1})
    ]
    for point, ratio in zip(ece.points, RATIOS, strict=True):
        values = by_seed("ece", ratio)
        ends = stats.ttest_1samp(values, 0).confidence_interval(0.95)
        assert (point.x, point.n) == (ratio, 4)
        assert point.values == pytest.approx(values)
        assert point.interval == pytest.approx(tuple(ends))
    means = [by_seed("ece", ratio).mean() for ratio in RATIOS]
    assert ece.best.value == RATIOS[int(np.argmin(means))]
    falls = {
        one.held[PER_CLASS]: one.falls_at
        for one in crossed.series
        if one.metric == "accuracy" and one.path == RATIO
    }
    assert falls == {1: 0.6, 10: 0.6}
    assert {one.path for one in crossed.series} == {RATIO, PER_CLASS}
    assert "Accuracy with images per class 1 begins to fall at MDT mask ratio 0.6" in " ".join(
        crossed.findings
    )


def test_the_heat_map_has_the_mean_of_each_pair_of_ratios(crossed):
    """MDT across, MTS down; one for each size."""
    assert [one.held for one in crossed.heat_maps] == [{PER_CLASS: 1}, {PER_CLASS: 10}]
    first = crossed.heat_maps[0]
    assert (first.mdt_ratios, first.mts_ratios) == (RATIOS, (0.0, 0.5))
    for y, mts in enumerate(first.mts_ratios):
        for x, mdt in enumerate(RATIOS):
            assert first.ece[y][x] == pytest.approx(by_seed("ece", mdt).mean() * (1 - mts))
            assert first.n[y][x] == 4


def test_calibrations_are_compared_with_none_on_the_same_networks(crossed):
    """TS halves each ECE."""
    assert len(crossed.calibration_differences) == 6
    for one in crossed.calibration_differences:
        settings = one.of.settings
        assert (one.of.calibration, one.against.calibration) == ("ts", "as trained")
        assert one.values == pytest.approx(
            -by_seed("ece", settings[RATIO], settings[PER_CLASS]) / 2
        )


def test_one_seed_is_compared_by_networks_and_says_so(tmp_path):
    """They share a set, and tell nothing of others."""
    settings = [{RATIO: 0.0}, {RATIO: 0.3}]
    reports = [made_report({"none": numbers(one[RATIO], 1)}) for one in settings]
    record = comparison(tmp_path, settings, reports)
    ece = next(one for one in record.differences if one.metric == "ece")
    sides = [[one["ece"] for one in numbers(ratio, 1)] for ratio in (0.3, 0.0)]
    assert (ece.unit, ece.n) == ("network", 2)
    assert ece.values == pytest.approx(np.subtract(*sides))
    assert "networks of the same set" in " ".join(record.findings)


def test_one_network_is_never_called_a_difference(tmp_path):
    """No interval, no best with one, and the words say why."""
    settings = [{RATIO: 0.0}, {RATIO: 0.3}]
    reports = [made_report({"none": numbers(one[RATIO], 1)[:1]}) for one in settings]
    record = comparison(tmp_path, settings, reports)
    assert [one.interval for one in record.differences] == [None, None]
    assert record.series[0].best.interval is None
    assert record.headline.endswith("one network says nothing of others.")
    assert not [words for words in record.findings if "lowest" in words or "falls" in words]


def test_results_that_share_no_seed_are_not_paired(tmp_path):
    """And it says what to do."""
    settings = [{RATIO: ratio, "seed": seed} for seed, ratio in enumerate(RATIOS)]
    reports = [made_report({"none": numbers(one[RATIO], one["seed"])}) for one in settings]
    record = comparison(tmp_path, settings, reports)
    assert record.differences == ()
    assert "No two of these results share a seed" in record.findings[-1]


def test_settings_that_change_together_are_one(tmp_path):
    """Two methods with their options are compared as a whole, and so is what shares no seed."""
    settings = [
        {"distill.method": "dm", "distill.lr": 1.0, "seed": 1},
        {"distill.method": "dm", "distill.lr": 1.0, "seed": 2},
        {"distill.method": "dc", "distill.outer": 10, "seed": 1},
        {"distill.method": "dc", "distill.outer": 10, "seed": 2},
    ]
    reports = [made_report({"none": numbers(0, one["seed"])}) for one in settings]
    record = comparison(tmp_path, settings, reports)
    (ece, accuracy) = record.differences
    assert (ece.metric, accuracy.metric, ece.n) == ("ece", "accuracy", 2)
    assert ece.of.settings == {"distill.method": "dc", "distill.lr": None, "distill.outer": 10}
    assert record.series == ()


def test_data_sets_are_not_compared_and_what_is_missing_is_told(tmp_path):
    """Other test images make no pairs; a job without a report is named among the results."""
    settings = [{"dataset": name, "seed": seed} for name in ("a", "b") for seed in (1, 2)]
    reports = [
        made_report({"none": numbers(0, one["seed"])}, dataset=one["dataset"]) for one in settings
    ]
    record = comparison(tmp_path, settings, [*reports[:3], None])
    assert (record.differences, record.dataset, record.n_missing) == ((), None, 1)
    assert record.headline == "3 results side by side; no two of them make a pair."
    assert "1 of 4 has no report, and no row here." in record.findings


def test_a_base_of_ones_own_is_the_one(tmp_path):
    """What it leaves out is the first value."""
    settings = [{RATIO: ratio, "seed": seed} for ratio in RATIOS for seed in (1, 2)]
    reports = [made_report({"none": numbers(one[RATIO], one["seed"])}) for one in settings]
    record = comparison(tmp_path, settings, reports, base={RATIO: 0.3})
    assert record.base == {RATIO: 0.3}
    assert {one.against.settings[RATIO] for one in record.differences} == {0.3}


def test_what_is_said_of_a_network_alone_stands_in_each_of_its_rows():
    """Probes and attributions, by the names that rules have; none of what a report lacks."""
    numbers = {"accuracy": 0.5, "ece": 0.1}
    held = made_report({"none": [numbers] * 2, "ts": [numbers] * 2}).as_json()
    shared = {"chance": 0.25, **dict.fromkeys(("accuracy", "untrained", "shuffled"), NO_NUMBER)}
    held["probes"] = [
        {
            "training_set_label": LABEL,
            "probes": [{"probe": "rotation", **shared, "networks": [0.5, 0.75]}],
        }
    ]
    seen = {"concentration": 0.5, "deletion": 0.1, "insertion": 0.9, "random_order": 0.4}
    held["attributions"] = [
        {
            "training_set_label": LABEL,
            "n_images": 200,
            "networks": [seen, {**seen, "concentration": 0.25}],
        }
    ]
    report = read_report(held)
    for row in report.rows:
        first, second = analysed(report, row)
        assert (first["probe_rotation"], second["probe_rotation"]) == (0.5, 0.75)
        assert first["attribution_concentration"] == 0.5
        assert second["attribution_concentration"] == 0.25
        assert (first["attribution_deletion"], first["attribution_insertion"]) == (0.1, 0.9)
        assert set(first) < set(get_args(RuleMetric))


def test_every_metric_of_a_rule_is_in_a_row():
    """By its name in a report's table, or as probes and attributions have it."""
    of_networks = {f"probe_{probe}" for probe in get_args(Probe)}
    of_networks |= {f"attribution_{one}" for one in ("concentration", "deletion", "insertion")}
    assert set(get_args(RuleMetric)) <= {*METRICS, *FURTHER} | of_networks
    assert set(METRIC_WORDS) == set(get_args(RuleMetric))
