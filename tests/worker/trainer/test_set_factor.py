"""The factor a distilled set carries: measured where it is made, used where it is calibrated."""

import json
import math

import numpy as np
import pytest
from safetensors.torch import load_file
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax

from ddcal_core.calibration.yardstick import half_way_temperature
from ddcal_core.networks import build_network
from ddcal_core.seeding import seeded_generator
from ddcal_core.specs.facts import DatasetFacts
from ddcal_core.specs.training import TrainSpec
from ddcal_core.training.train import predict_logits, train_network
from tests.worker.small_jobs import (
    distill_params,
    file_of,
    model_input,
    run_kind,
    set_input,
    train_params,
    write_dataset,
)
from worker.trainer.inputs import DatasetInput, SetInput, parse_json
from worker.trainer.loading import as_examples, cut, load_train_images, space_of_set

pytestmark = pytest.mark.long

AUTO = [{"method": "mts", "fit_on": "distilled", "mask": {"ratio": "auto"}}]
SELECTION = {"n_evaluations": 1, "epochs": 40}


class Made:
    """A small data set, a distilled set of it, and two networks trained on that."""

    def __init__(self, folder, **changes):
        folder.mkdir(exist_ok=True)
        self.folder, self.dataset = folder, write_dataset(folder)
        params = distill_params(images_per_class=4, selection=SELECTION, **changes)
        (self.distilled,) = run_kind("distill", params, {"dataset": self.dataset}, folder / "set")
        self.set = set_input(self.distilled)

    def calibrate(self):
        """The values of two networks, wider than what the factor was measured with."""
        training_set = {"source": "distilled", "distilled_set": self.set["id"]}
        inputs = {"dataset": None, "distilled_set": self.set}
        params = train_params(training_set, width=8)
        trained = run_kind("train", params, inputs, self.folder / "train")
        self.models = [model_input(output, f"mdl_{k}") for k, output in enumerate(trained)]
        inputs = {
            "dataset": self.dataset,
            "models": self.models,
            "distilled_sets": {self.set["id"]: self.set},
        }
        params = {"models": ["mdl_" + "a" * 26], "seed": 1, "calibrate": AUTO}
        outputs = run_kind("calibrate", params, inputs, self.folder / "calibrate")
        return [output.values for output in outputs]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """One set with its factor, for all tests that only look."""
    return Made(tmp_path_factory.mktemp("made") / "m")


def validation_of(made):
    """The validation images of the set's split, as a network reads them."""
    distilled, dataset = (
        parse_json(model, value)
        for model, value in ((SetInput, made.set), (DatasetInput, made.dataset))
    )
    data = load_train_images(dataset)
    _, index = cut(data, distilled.manifest.split, 3)
    return as_examples(data, index, space_of_set(distilled), "cpu")


def test_the_factor_is_t_with_labels_over_the_half_way_t(made):
    """Trained again by hand: SciPy's best T on validation, over half-way T, is the factor."""
    said = made.distilled.values["calibration_factor"]
    facts = DatasetFacts.model_validate_json(json.dumps(made.dataset["facts"]))
    tensors = load_file(made.set["path"])
    spec = TrainSpec(width=4, depth=2, epochs=40, batch_size=32)
    network = build_network(spec, facts, seeded_generator(1, "measure factor", "network"))
    order = seeded_generator(1, "measure factor", "order")
    train_network(network, tensors["images"], tensors["labels"], spec, generator=order)
    validation = validation_of(made)
    logits = predict_logits(network, validation.images).double().numpy()
    at_label = np.arange(len(logits)), validation.labels.numpy()
    best = minimize_scalar(
        lambda log_t: -log_softmax(logits / math.exp(log_t), axis=1)[at_label].mean(),
        bracket=(-1, 0),
        options={"xtol": 1e-10},
    )
    half_way = half_way_temperature(network, tensors["images"], tensors["labels"], seed=1)
    assert said["temperature"] == pytest.approx(math.exp(best.x), rel=1e-5)
    assert said["factor"] == pytest.approx(math.exp(best.x) / half_way.temperature, rel=1e-5)
    assert said["n_real"] == len(logits) == 18
    assert said["train"] == {"epochs": 40, "batch_size": 32, "lr": 0.01}
    assert "with their labels" in said["labels_used"]


def test_later_networks_are_calibrated_by_the_factor(made):
    """T is each network's own half-way T times the factor; no network is trained for it."""
    factor = made.distilled.values["calibration_factor"]["factor"]
    first, second = made.calibrate()
    for values in (first, second):
        assert (values["found_by"], values["n_folds"], values["factor"]) == (
            "known_factor",
            0,
            factor,
        )
        assert values["temperature"] == pytest.approx(factor * values["half_way_temperature"])
    assert first["half_way_temperature"] != second["half_way_temperature"]


def test_without_a_factor_temperatures_come_from_the_set_alone(tmp_path):
    """Not asked for: the manifest says null, and calibration trains its folds as before."""
    made = Made(tmp_path / "m", measure_factor=False)
    assert made.distilled.values["calibration_factor"] is None
    assert {values["found_by"] for values in made.calibrate()} == {"folds"}
    manifest = json.loads(file_of(made.distilled, "manifest.json").read_text())
    assert manifest["calibration_factor"] is None


def test_a_set_made_before_there_were_factors_still_works(made):
    """A manifest of version 1 that does not name one: as if it had none."""
    later = {"calibration_factor", "version"}
    old = {name: value for name, value in made.set["manifest"].items() if name not in later}
    again = Made.__new__(Made)
    again.folder, again.dataset = made.folder / "again", made.dataset
    again.folder.mkdir()
    again.set = made.set | {"manifest": old}
    assert {values["found_by"] for values in again.calibrate()} == {"folds"}


@pytest.mark.parametrize("images_per_class", [1, 4])
def test_two_classes_carry_a_factor_or_say_why_not(tmp_path, images_per_class):
    """With two classes the yardstick is the rms of the logits; a T comes out, or the reason."""
    made = Made.__new__(Made)
    made.folder, made.dataset = tmp_path, write_dataset(tmp_path)
    params = distill_params(images_per_class=images_per_class, selection=SELECTION)
    params |= {"classes": [0, 1]}
    (made.distilled,) = run_kind("distill", params, {"dataset": made.dataset}, tmp_path / "set")
    made.set = set_input(made.distilled)
    said = made.distilled.values["calibration_factor"]
    assert said["half_way_temperature"] is None
    assert said["logit_rms"] > 0
    assert (said["factor"] is None) == ("why_none" in said)
    for values in made.calibrate():
        if said["factor"] is None:
            assert values["found_by"] != "known_factor"
        else:
            assert values["found_by"] == "known_factor"
            assert values["temperature"] == pytest.approx(said["factor"] * values["logit_rms"])
