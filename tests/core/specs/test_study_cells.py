"""The cells of a study: every combination of what varies, less what is excluded."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from ddcal_core.specs.kinds.study import StudyParams, ValueRange
from ddcal_core.specs.study_cells import StudyError, cells_of, with_added

BASE = {"dataset": "digits", "distill": {"method": "dm", "images_per_class": 1}}


def study(vary, **more):
    """The params of a study."""
    return StudyParams.model_validate({"base": BASE, "vary": vary, **more})


def settings(params):
    """What sets each cell apart."""
    return [cell.settings for cell in cells_of(params)]


def test_cells_are_every_combination_and_the_last_changes_first():
    """As nested loops would have them."""
    wanted = [
        {"distill.mask.ratio": ratio, "seed": seed} for ratio in (0, 0.3) for seed in (0, 1, 2)
    ]
    assert settings(study({"distill.mask.ratio": [0, 0.3], "seed": [0, 1, 2]})) == wanted


def test_a_value_goes_where_its_path_leads():
    """Objects on the way are made, the rest of the base stays, and the base itself too."""
    params = study({"distill.mask.ratio": [0.3], "baselines.0.source": ["herding"]})
    params.base["baselines"] = [{"source": "random"}, {"source": "full"}]
    (cell,) = cells_of(params)
    assert cell.params == {
        "dataset": "digits",
        "distill": {"method": "dm", "images_per_class": 1, "mask": {"ratio": 0.3}},
        "baselines": [{"source": "herding"}, {"source": "full"}],
    }
    assert params.base["baselines"][0] == {"source": "random"}
    assert "mask" not in params.base["distill"]


def test_zipped_values_go_together():
    """The first of each, then the second."""
    zipped = study({"seed": [0, 1], "distill.images_per_class": [1, 10]}, combine="zipped")
    assert settings(zipped) == [
        {"seed": 0, "distill.images_per_class": 1},
        {"seed": 1, "distill.images_per_class": 10},
    ]


def test_variants_set_several_fields_under_one_name():
    """The name is the setting, the fields are the pipeline's."""
    variants = {"dc": {"distill.method": "dc", "distill.iterations": 9}, "dm": {}}
    cells = cells_of(study({"method": {"variants": variants}}))
    assert [cell.settings for cell in cells] == [{"method": "dc"}, {"method": "dm"}]
    assert [cell.params["distill"]["method"] for cell in cells] == ["dc", "dm"]
    assert cells[0].params["distill"]["iterations"] == 9


def test_excluded_cells_are_left_out():
    """Those that have all the values of one."""
    params = study(
        {"seed": [0, 1], "n_validation": [5, 6]}, exclude=[{"seed": 1, "n_validation": 5}]
    )
    assert {"seed": 1, "n_validation": 5} not in settings(params)
    assert len(settings(params)) == 3


@given(
    st.integers(-50, 50), st.integers(0, 60), st.sampled_from(["0.1", "0.05", "1", "0.3", "2.5"])
)
def test_ranges_are_decimal(start, n, step):
    """0.3 and not 0.30000000000000004; the last is taken where steps lead to it."""
    first, by = start / 10, float(step)
    last = float(f"{first + n * by:.6f}")
    values = ValueRange(start=first, stop=last, step=by).values()
    assert values == [float(f"{first + k * by:.6f}") for k in range(n + 1)]


@pytest.mark.parametrize(
    ("vary", "more", "path", "words"),
    [
        ({"seed": [0, 0]}, {}, ("vary", "seed", 1), "each value once"),
        ({"seed": [1, 1.0]}, {}, ("vary", "seed", 1), "each value once"),
        ({"seed": [*range(2000)], "n_validation": [5, 6]}, {}, ("vary",), "4,000"),
        (
            {"distill.mask.ratio": [0.1], "m": {"variants": {"a": {"distill.mask": None}}}},
            {},
            ("vary", "m"),
            "one of the two",
        ),
        (
            {"seed": [0, 1], "n_validation": [5]},
            {"combine": "zipped"},
            ("vary", "n_validation"),
            "2",
        ),
        ({"seed": [0, 1]}, {"exclude": [{"seed": 2}]}, ("exclude", 0), "excludes nothing"),
        ({"seed": [0, 1]}, {"exclude": [{"sead": 1}]}, ("exclude", 0, "sead"), "what varies"),
        ({"seed": [0]}, {"exclude": [{"seed": 0}]}, ("exclude",), "every cell"),
        ({"dataset.name": ["a"]}, {}, ("vary", "dataset.name"), "no place"),
    ],
)
def test_what_does_not_fit_together_is_refused_by_place(vary, more, path, words):
    """Before anything is checked, let alone run."""
    with pytest.raises(StudyError, match=words) as refused:
        cells_of(study(vary, **more))
    assert refused.value.path == path


@pytest.mark.parametrize(
    "params",
    [
        {},
        {"base": BASE},
        {"named": "mts-ratio"},
        {"named": "mts-ratio", "dataset": "digits", "extends": "job_" + "0" * 26},
        {"base": BASE, "vary": {"seed": [0]}, "preset": "smoke"},
        {"base": BASE, "vary": {"seed": {"start": 2, "stop": 1, "step": 1}}},
        {"base": BASE, "vary": {"seed": {"start": 0, "stop": 1, "step": 1e-9}}},
        {"base": BASE, "vary": {"seed": []}},
    ],
)
def test_a_study_says_what_varies(params):
    """A base and values, another study, or the name of one."""
    with pytest.raises(ValidationError):
        StudyParams.model_validate(params)


def test_added_values_come_after_the_known_ones_and_once():
    """So that the cells that are there keep their order."""
    known = study({"seed": [0, 1], "m": {"variants": {"a": {"seed": 1}}}}).vary
    more = study({"seed": {"start": 1, "stop": 3, "step": 1}, "m": {"variants": {"b": {}}}}).vary
    vary = with_added(known, more)
    assert vary["seed"] == [0, 1, 2, 3]
    assert list(vary["m"].variants) == ["a", "b"]


@pytest.mark.parametrize(
    "more", [{"m": [1]}, {"m": {"variants": {"a": {"seed": 2}}}}, {"seed": {"variants": {"a": {}}}}]
)
def test_what_cannot_be_added_is_refused(more):
    """Variants to values, values to variants, another variant under a known name."""
    known = study({"seed": [0, 1], "m": {"variants": {"a": {"seed": 1}}}}).vary
    with pytest.raises(StudyError):
        with_added(known, study(more).vary)


@pytest.mark.parametrize(
    ("more", "path"),
    [
        ({"reference": {"other": 1}}, ("reference", "other")),
        ({"reference": {"seed": 7}}, ("reference", "seed")),
        ({"rules": [{"of": {"settings": {"seed": [7]}}}]}, ("rules", 0, "of", "settings", "seed")),
        (
            {"rules": [{"against": [{"settings": {"other": [1]}}]}]},
            ("rules", 0, "against", 0, "settings", "other"),
        ),
        ({"base": {"dataset": "x" * 20_000}}, ("base",)),
        (
            {"vary": {"v": {"variants": {"a": {"train": {}, "train.epochs": 5}}}}},
            ("vary", "v", "variants", "a"),
        ),
        (
            {
                "base": {"evaluate": {"mts_ratios": [0.1]}},
                "vary": {"evaluate.mts_ratios.0": [0.2], "evaluate.mts_ratios.00": [0.3]},
            },
            ("vary", "evaluate.mts_ratios.00"),
        ),
    ],
)
def test_what_no_cell_can_have_is_refused_by_place(more, path):
    """A reference or rule about nothing, a place set twice, and parts too long to check often."""
    rule = {
        "name": "r",
        "statement": "lower",
        "of": {"settings": {"seed": [0]}},
        "against": [{"settings": {"seed": [1]}}],
        "expected": "lower",
    }
    rules = [{**rule, **given} for given in more.get("rules", ())]
    params = {"base": {}, "vary": {"seed": [0, 1]}, **more, "rules": rules}
    with pytest.raises(StudyError) as raised:
        cells_of(StudyParams.model_validate(params))
    assert raised.value.path == path


def test_whole_numbers_of_any_size_are_told_apart():
    """Beyond what a float holds, too."""
    varied = {"seed": [10**400, 10**400 + 1, 2**53, 2**53 + 1]}
    assert len(cells_of(StudyParams(base={}, vary=varied))) == 4


def test_values_of_settings_are_short():
    """Answers repeat them for each cell."""
    for value in ("x" * 201, [0] * 101):
        with pytest.raises(ValidationError):
            StudyParams(base={}, vary={"dataset": [value]})
