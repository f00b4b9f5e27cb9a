"""No job copies its images, neither as floats nor as bytes: every tensor it makes is looked at."""

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter

from ddcal_core.specs.calibration import TemperatureScaling
from tests.worker.small_jobs import (
    distill_params,
    model_input,
    run_kind,
    train_params,
    write_dataset,
)
from worker.trainer.fitting.calibration_images import CalibrationImages
from worker.trainer.fitting.fitting import Fitter
from worker.trainer.inputs import DatasetInput, ModelInput, parse_json
from worker.trainer.loading import load_model

CPU = torch.device("cpu")
N_EACH, N_VALIDATION = 400, 600
N_AT_ONCE = 500
"""As many pairs of synthetic images are drawn; real ones come 256 at a time at most."""
TRAINING = {"epochs": 1, "n_seeds": 1}
CUT = {"n_validation": N_VALIDATION}
JOBS = {
    "distill": distill_params() | CUT,
    "experts": CUT
    | {
        "dataset": "small",
        "seed": 1,
        "experts": {"n_experts": 1, "epochs": 1, "width": 4, "depth": 2},
    },
    "train": train_params({"source": "full"}, **TRAINING) | CUT,
}


class MostImages(TorchDispatchMode):
    """Counts the images of 1 x 8 x 8 in each tensor that an operation gives memory of its own.

    Attributes:
        n: the most in one.
    """

    def __init__(self):
        super().__init__()
        self.n = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        """Let an operation do its work; look at what it gives."""
        given = function(*args, **(kwargs or {}))
        known = {one.untyped_storage().data_ptr() for one in _tensors((args, kwargs))}
        for one in _tensors(given):
            is_images = one.shape[1:] in ((1, 8, 8), (64,))
            if is_images and one.untyped_storage().data_ptr() not in known:
                self.n = max(self.n, len(one))
        return given


def _tensors(values):
    return [one for one in tree_iter(values) if isinstance(one, torch.Tensor)]


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    """More images than any batch has."""
    folder = tmp_path_factory.mktemp("many")
    dataset = write_dataset(folder, n_train_each=N_EACH, n_test_each=N_EACH)
    return dataset | {"test_path": str(folder / "test.safetensors")}


@pytest.fixture(scope="module")
def model(dataset, tmp_path_factory):
    """A network trained on a few of the images."""
    params = train_params({"source": "random", "images_per_class": 2}, **TRAINING) | CUT
    folder = tmp_path_factory.mktemp("network") / "train"
    (made,) = run_kind("train", params, {"dataset": dataset, "distilled_set": None}, folder)
    return model_input(made, "mdl_0")


@pytest.mark.parametrize("copy", [torch.Tensor.float, torch.Tensor.clone], ids=["floats", "bytes"])
def test_a_copy_is_seen(copy):
    """What the tests below look for is found."""
    pixels = torch.zeros(300, 1, 8, 8, dtype=torch.uint8)
    with MostImages() as most:
        copy(pixels[:290])
    assert most.n == 290


@pytest.mark.parametrize("kind", JOBS)
def test_learning_from_images_copies_none(kind, dataset, tmp_path):
    """What is learned from all of them takes a batch at a time; validation is asked likewise."""
    with MostImages() as most:
        run_kind(kind, JOBS[kind], {"dataset": dataset}, tmp_path / kind)
    assert 0 < most.n <= N_AT_ONCE


def test_calibrating_on_validation_images_copies_none(dataset, model, tmp_path):
    """More than a batch of them, asked for their logits and labels."""
    given = parse_json(ModelInput, model)
    images = CalibrationImages(parse_json(DatasetInput, dataset), {}, CPU)
    with MostImages() as most:
        found = Fitter(load_model(given, CPU), given, images, seed=1).fit(
            TemperatureScaling(method="ts", fit_on="validation")
        )
    assert found.values.n == N_VALIDATION
    assert 0 < most.n <= N_AT_ONCE


def test_measuring_on_test_images_copies_none(dataset, model, tmp_path):
    """Their logits are all that is kept of them."""
    inputs = {"dataset": dataset, "models": [model], "distilled_sets": {}, "calibrations": []}
    params = {"calibrations": ["cal_" + "a" * 26], "seed": 1, "evaluate": {"mts_ratios": []}}
    with MostImages() as most:
        run_kind("evaluate", params, inputs, tmp_path / "evaluate")
    assert 0 < most.n <= N_AT_ONCE
