"""Which calibrations of networks can be asked for, and where each mistake is said to stand."""

import pytest

from tests.api.serving import refusals

FULL = {"dataset": "digits", "training_set": {"source": "full"}}
RANDOM = {"dataset": "digits", "training_set": {"source": "random", "images_per_class": 1}}


def submitted(api, models, specs):
    """The answer to a calibrate job of these models."""
    params = {"models": models, "calibrate": specs}
    return api.client.post("/v1/jobs", json={"kind": "calibrate", "params": params})


def test_every_method_is_taken_with_its_defaults(api):
    """Baselines fit on validation, TS is solved exactly, unless told otherwise.

    What fit_on: training_set was called before is still read.
    """
    job = api.submit("train", RANDOM)
    specs = [
        {"method": "ts"},
        {"method": "ts", "optimiser": "lbfgs_50"},
        {"method": "vector"},
        {"method": "isotonic", "fit_on": "distilled"},
    ]
    answer = submitted(api, [job["id"]], specs)
    assert answer.status_code == 202, answer.text
    assert answer.json()["params"]["calibrate"] == [
        {"method": "ts", "fit_on": "validation", "optimiser": "exact"},
        {"method": "ts", "fit_on": "validation", "optimiser": "lbfgs_50"},
        {"method": "vector", "fit_on": "validation"},
        {"method": "isotonic", "fit_on": "training_set"},
    ]


@pytest.mark.parametrize(
    ("specs", "expected"),
    [
        (
            [{"method": "ts", "optimiser": "adam"}],
            ("/params/calibrate/0/optimiser", "unknown_value"),
        ),
        (
            [{"method": "none"}, {"method": "vector", "optimiser": "exact"}],
            ("/params/calibrate/1/optimiser", "unknown_field"),
        ),
        (
            [{"method": "mts", "optimiser": "lbfgs_50"}],
            ("/params/calibrate/0/optimiser", "unknown_field"),
        ),
        (
            [{"method": "isotonic", "fit_on": "test"}],
            ("/params/calibrate/0/fit_on", "unknown_value"),
        ),
        ([{"method": "matrix"}], ("/params/calibrate/0/method", "unknown_value")),
        (
            [{"method": "ts"}, {"method": "ts", "fit_on": "validation"}],
            ("/params/calibrate", "invalid_value"),
        ),
    ],
)
def test_what_there_is_not_is_refused_where_it_stands(api, specs, expected):
    """An optimiser that is none or not the method's, a source that is none, the same twice."""
    job = api.submit("train", RANDOM)
    assert refusals(submitted(api, [job["id"]], specs)) == [expected]


def test_a_network_on_the_full_data_has_no_set_for_a_baseline_either(api):
    """As for temperatures: fit_on distilled is refused, with its pointer."""
    job = api.submit("train", FULL)
    specs = [{"method": "vector"}, {"method": "isotonic", "fit_on": "distilled"}]
    found = refusals(submitted(api, [job["id"]], specs))
    assert found == [("/params/calibrate/1/fit_on", "no_distilled_set")]
