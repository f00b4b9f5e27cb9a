"""Decision rules: confirmed, refuted or open, and never with fewer seeds than were asked for."""

import json

import numpy as np
import pytest
from pydantic import ValidationError
from scipy import stats

from ddcal_core.formats.comparisons import read_comparison
from ddcal_core.specs.decision_rules import DecisionRule
from tests.worker.small_jobs import file_of, run_kind
from tests.worker.trainer.comparing.made_reports import made_report, written

RATIO = "distill.mask.ratio"
RULE = {
    "name": "rule",
    "statement": "A masked set gives a lower ECE.",
    "of": {"settings": {RATIO: [0.3]}},
    "against": [{"settings": {RATIO: [0]}}],
    "expected": "lower",
}


def noise(*place, size=1):
    """Made up, the same each time."""
    return np.random.default_rng(place).normal(0, 0.005, size).tolist()


def decided(tmp_path, rules, *, means, n_seeds=8, curve=None, settings=None, dataset=("a",)):
    """The verdicts on sets of these mean ECEs by mask ratio.

    Args:
        tmp_path: an empty folder.
        rules: DecisionRules as JSON.
        means: ratio -> mean ECE as trained.
        n_seeds: of each.
        curve: MTS ratio -> what it takes off an ECE.
        settings: more of them.
        dataset: names.
    """
    asked, reports = [], []
    for name in dataset:
        for ratio, mean in means.items():
            for seed in range(n_seeds):
                (off,) = noise(int(100 * ratio), seed)
                row = {"ece": mean + off, "accuracy": 0.8 + off}
                points = {r: [mean + off - taken] for r, taken in (curve or {}).items()}
                reports.append(made_report({"none": [row], "ts": [row]}, curve=points or None))
                own = {RATIO: ratio, "seed": seed, **(settings or {})}
                asked.append(own | ({"dataset": name} if len(dataset) > 1 else {}))
    params = {
        "reports": [{"report": f"rep_{k:026d}", "settings": one} for k, one in enumerate(asked)],
        "rules": [RULE | one for one in rules],
    }
    inputs = {"reports": written(tmp_path / "in", reports)}
    (output,) = run_kind("compare", params, inputs, tmp_path / "out")
    record = read_comparison(file_of(output, "comparison.json").read_bytes())
    assert record.verdicts == {one.rule.name: one.outcome for one in record.decided}
    assert record.headline.startswith(f"{len(rules)} statement")
    assert f"1 {record.decided[0].outcome}" in record.headline or len(rules) > 1
    return record.decided


@pytest.mark.parametrize(
    ("means", "change", "outcome"),
    [
        ({0.0: 0.2, 0.3: 0.1}, {}, "confirmed"),
        ({0.0: 0.1, 0.3: 0.2}, {}, "refuted"),
        ({0.0: 0.1, 0.3: 0.1}, {}, "open"),
        ({0.0: 0.2, 0.3: 0.1}, {"margin": 0.2}, "refuted"),
        ({0.0: 0.2, 0.3: 0.1}, {"margin": 0.1}, "open"),
        ({0.0: 0.2, 0.3: 0.1}, {"min_seeds": 9}, "open"),
        ({0.0: 0.1, 0.3: 0.2}, {"expected": "higher"}, "confirmed"),
        ({0.0: 0.2, 0.3: 0.1}, {"expected": "higher"}, "refuted"),
        ({0.0: 0.1, 0.3: 0.1}, {"expected": "not_higher", "margin": 0.05}, "confirmed"),
        ({0.0: 0.1, 0.3: 0.2}, {"expected": "not_higher", "margin": 0.05}, "refuted"),
        ({0.0: 0.1, 0.3: 0.1}, {"expected": "not_lower", "margin": 0.05}, "confirmed"),
        ({0.0: 0.2, 0.3: 0.1}, {"expected": "not_lower", "margin": 0.05}, "refuted"),
        ({0.0: 0.1, 0.3: 0.1}, {"expected": "equal", "margin": 0.05}, "confirmed"),
        ({0.0: 0.2, 0.3: 0.1}, {"expected": "equal", "margin": 0.05}, "refuted"),
        ({0.0: 0.2, 0.3: 0.15}, {"expected": "equal", "margin": 0.05}, "open"),
        ({0.0: 0.2, 0.3: 0.1}, {"metric": "accuracy"}, "open"),
    ],
)
def test_a_difference_decides_by_its_whole_interval(tmp_path, means, change, outcome):
    """Wholly where it is expected, wholly elsewhere, or open."""
    (found,) = decided(tmp_path, [change], means=means)
    assert found.outcome == outcome
    assert found.words.startswith(outcome.capitalize())
    (one,) = found.comparisons
    assert (one.n, one.outcome) == (8, outcome)
    off = [[noise(int(100 * r), seed)[0] for seed in range(8)] for r in (0.3, 0.0)]
    base = means if found.rule.metric == "ece" else {0.0: 0.8, 0.3: 0.8}
    sides = np.add(off, [[base[0.3]], [base[0.0]]])
    wanted = stats.ttest_rel(*sides).confidence_interval(0.95)
    assert one.interval == pytest.approx(tuple(wanted))


def test_too_few_seeds_leave_it_open_with_their_number(tmp_path):
    """However clear the numbers are."""
    (found,) = decided(tmp_path, [{}], means={0.0: 0.9, 0.3: 0.1}, n_seeds=3)
    assert found.outcome == "open"
    assert found.words.startswith("Open: 3 paired seeds, 8 wanted. MDT mask ratio 0.3 against")
    assert "−79.88 points (95 % interval −81.17 to −78.58)" in found.words


def test_networks_of_one_seed_decide_nothing(tmp_path):
    """They share their set."""
    reports = [made_report({"none": [{"ece": e}] * 9}) for e in (0.9, 0.1)]
    params = {
        "reports": [
            {"report": f"rep_{k:026d}", "settings": {RATIO: r}} for k, r in enumerate((0, 0.3))
        ],
        "rules": [RULE],
    }
    inputs = {"reports": written(tmp_path / "in", reports)}
    (output,) = run_kind("compare", params, inputs, tmp_path / "out")
    (found,) = read_comparison(file_of(output, "comparison.json").read_bytes()).decided
    assert found.outcome == "open"
    assert "networks of one set tell nothing of other sets" in found.words


MTS = {"method": "mts", "fit_on": "training_set", "mask_ratios": [0.3, 0.5, 0.7]}
SOME = {"of": MTS, "against": [{"method": "ts"}], "over": "some"}


@pytest.mark.parametrize(
    ("taken", "change", "outcome"),
    [
        ({0.3: 0.0, 0.5: 0.05, 0.7: -0.1}, {}, "confirmed"),
        ({0.3: -0.1, 0.5: -0.05, 0.7: -0.1}, {}, "refuted"),
        ({0.3: -0.1, 0.5: 0.0, 0.7: -0.1}, {"margin": 1e-9}, "refuted"),
        ({0.3: 0.05, 0.5: 0.05, 0.7: -0.1}, {"over": "every"}, "refuted"),
        ({0.3: 0.05, 0.5: 0.05, 0.7: 0.1}, {"over": "every"}, "confirmed"),
        ({0.3: 0.05, 0.7: 0.1}, {"over": "every"}, "open"),
    ],
)
def test_one_ratio_of_several_is_enough_for_some(tmp_path, taken, change, outcome):
    """Ratios are read from the curves of MTS; one that is not there leaves `every` open."""
    (found,) = decided(tmp_path, [SOME | change], means={0.0: 0.4}, curve=taken)
    assert found.outcome == outcome
    assert len(found.comparisons) == 3


def test_one_of_many_has_to_be_clearer_than_one_alone(tmp_path):
    """By Bonferroni: what is just decided alone is open among twenty."""
    differences = np.subtract(
        *[[noise(int(100 * r), seed)[0] for seed in range(8)] for r in (0.3, 0.0)]
    )
    spread = differences.std(ddof=1) / np.sqrt(8)
    # Between the 95 % point and the one of 20 looks.
    wanted = -(stats.t.ppf(0.975, 7) + stats.t.ppf(1 - 0.025 / 20, 7)) / 2 * spread
    means = {0.0: 0.2, 0.3: 0.2 + wanted - differences.mean()}
    others = [round(0.31 + k / 100, 2) for k in range(19)]
    many = {"of": {"settings": {RATIO: [0.3, *others]}}, "over": "some"}
    alone, among = decided(tmp_path, [{}, many | {"name": "many"}], means=means)
    assert (alone.outcome, among.outcome) == ("confirmed", "open")


def test_both_together_beat_each_alone(tmp_path):
    """A candidate has to be lower than all that it is compared with."""
    both = {
        "of": {"settings": {RATIO: [0.3]}, **MTS, "mask_ratios": [0.5]},
        "against": [{"settings": {RATIO: [0]}}, {"method": "none"}],
    }
    (found,) = decided(tmp_path / "1", [both], means={0.0: 0.4, 0.3: 0.3}, curve={0.5: 0.1})
    assert found.outcome == "confirmed"
    assert [one.against.calibration for one in found.comparisons] == [
        "MTS curve, 50 % on training set",
        "as trained",
    ]
    (found,) = decided(tmp_path / "2", [both], means={0.0: 0.3, 0.3: 0.4}, curve={0.5: 0.1})
    assert found.outcome == "refuted"


def test_all_pairs_of_a_range_are_equal(tmp_path):
    """Each once."""
    ratios = {"settings": {RATIO: [0.1, 0.3, 0.5]}}
    rule = {"of": ratios, "against": [ratios], "expected": "equal", "margin": 0.02}
    (found,) = decided(tmp_path / "1", [rule], means={0.1: 0.2, 0.3: 0.2, 0.5: 0.2, 0.9: 0.9})
    assert (found.outcome, len(found.comparisons)) == ("confirmed", 3)
    (found,) = decided(tmp_path / "2", [rule], means={0.1: 0.2, 0.3: 0.2, 0.5: 0.3})
    assert found.outcome == "refuted"


def test_it_has_to_hold_on_every_data_set(tmp_path):
    """Settings that the rule leaves open are groups of their own."""
    (found,) = decided(tmp_path, [{}], means={0.0: 0.3, 0.3: 0.1}, dataset=("a", "b"))
    assert (found.outcome, len(found.comparisons)) == ("confirmed", 2)
    assert [one.of.settings["dataset"] for one in found.comparisons] == ["a", "b"]


def test_rows_that_are_not_there_leave_it_open(tmp_path):
    """And it says that there are none."""
    rule = {"of": {"training_set": "full"}, "against": [{"method": "vector"}]}
    (found,) = decided(tmp_path, [rule], means={0.0: 0.3, 0.3: 0.1})
    assert (found.outcome, found.comparisons) == ("open", ())
    assert found.words == "Open: no two results have the rows that it compares."


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"of": {"method": "mts"}}, "wanted mask_ratios with method mts"),
        ({"of": {"mask_ratios": [0.5]}}, "wanted mask_ratios with method mts"),
        ({"against": [{}]}, "something has to differ"),
        ({"against": [{"training_set": "full", "fit_on": "validation"}]}, "wanted a method with"),
        ({"against": []}, "at least 1 item"),
        ({"expected": "equal"}, "margin: wanted above 0"),
        ({"level": 1.0}, "less than 1"),
        ({"min_seeds": 1}, "greater than or equal to 2"),
        ({"of": {"settings": {RATIO: []}}}, "at least 1 item"),
    ],
)
def test_a_rule_that_decides_nothing_is_refused(change, words):
    """Before anything is computed."""
    with pytest.raises(ValidationError, match=words):
        DecisionRule.model_validate_json(json.dumps(RULE | change))
