"""Every member of every union can be submitted: what is added is taken, or refused in words."""

import pytest

from ddcal_core.specs.calibration import CALIBRATIONS
from ddcal_core.specs.distillation import METHODS
from ddcal_core.specs.information_drop import DROPS
from ddcal_core.specs.kinds.pipeline import BASELINES
from ddcal_core.specs.networks import NETWORK_OPTIONS
from ddcal_core.specs.regularisers import REGULARISERS
from ddcal_core.specs.spaces import INPUT_SPACES
from ddcal_core.specs.training import LOSSES, OPTIMISERS


def pipelines():
    """A pipeline for every member of every union that one can name."""
    base = {"dataset": "digits", "calibrate": [{"method": "none"}]}
    fitted = [name for name in CALIBRATIONS if name != "none"]
    varied = {
        "method": ({"distill": {"method": name, "images_per_class": 1}} for name in METHODS),
        "calibration": ({"calibrate": [{"method": name}]} for name in fitted),
        "network": ({"train": {"network": name}} for name in NETWORK_OPTIONS),
        "baseline": ({"baselines": [{"source": name}]} for name in BASELINES),
        "loss": ({"train": {"loss": {"name": name}}} for name in LOSSES),
        "regulariser": ({"train": {"regulariser": {"name": name}}} for name in REGULARISERS),
        "optimiser": ({"train": {"optimiser": {"name": name}}} for name in OPTIMISERS),
        "drop": ({"train": {"drop": {"what": name, "share": 0.3}}} for name in DROPS),
        "regularised": ({"distill": {"regulariser": {"name": name}}} for name in REGULARISERS),
        "space": ({"input_space": {"name": name}} for name in INPUT_SPACES),
    }
    return [
        pytest.param({**base, **changes}, id=f"{what} {place}")
        for what, several in varied.items()
        for place, changes in enumerate(several)
    ]


@pytest.mark.parametrize("params", pipelines())
def test_every_member_can_be_submitted(shared_api, params):
    """A pipeline with it is taken, its presets filled in, and its jobs are there."""
    answer = shared_api.client.post("/v1/jobs", json={"kind": "pipeline", "params": params})
    assert answer.status_code == 202, answer.text
    assert answer.json()["children"]


@pytest.mark.parametrize("method", METHODS)
def test_every_published_row_is_answered_in_words(shared_api, method):
    """Taken or refused for its data set, which is not there; never a server error."""
    for dataset, size in METHODS[method].published():
        distill = {"method": method, "preset": "published", "images_per_class": size}
        params = {"dataset": dataset, "distill": distill, "calibrate": [{"method": "none"}]}
        answer = shared_api.client.post("/v1/jobs", json={"kind": "pipeline", "params": params})
        codes = {problem["code"] for problem in answer.json()["errors"]}
        assert (answer.status_code, codes) == (422, {"dataset_unavailable"})
