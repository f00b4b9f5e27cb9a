"""Vector scaling, isotonic regression and L-BFGS on our own networks, from fit to report."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from scipy.special import log_softmax, softmax
from sklearn.isotonic import IsotonicRegression

from ddcal_core.errors import InvalidDataError
from ddcal_core.formats.manifests import Split
from tests.worker.small_jobs import file_of, model_input, run_kind, train_params, write_dataset
from worker.trainer.fitting.calibrations import read_scaling
from worker.trainer.inputs import DatasetInput, parse_json
from worker.trainer.loading import cut, load_train_images

pytestmark = pytest.mark.long

SPECS = [
    {"method": "none"},
    {"method": "ts"},
    {"method": "ts", "optimiser": "lbfgs_50"},
    {"method": "ts", "optimiser": "lbfgs_200"},
    {"method": "vector"},
    {"method": "isotonic"},
    {"method": "vector", "fit_on": "distilled"},
    {"method": "ets"},
]
NONE, EXACT, LBFGS_50, LBFGS_200, VECTOR, ISOTONIC, VECTOR_ON_SET, ETS = range(len(SPECS))


class Run:
    """Two networks on random images, calibrated in every way, and the report on them."""

    def __init__(self, folder):
        self.dataset = write_dataset(folder)
        training_set = {"source": "random", "images_per_class": 4}
        # Trained for long at a high rate: logits large enough for L-BFGS to stop short.
        params = train_params(training_set, epochs=120, lr=0.5)
        inputs = {"dataset": self.dataset, "distilled_set": None}
        trained = run_kind("train", params, inputs, folder / "train")
        self.models = [model_input(output, f"mdl_{k}") for k, output in enumerate(trained)]
        inputs = {"dataset": self.dataset, "models": self.models, "distilled_sets": {}}
        params = {"models": ["mdl_" + "a" * 26], "seed": 1, "calibrate": SPECS}
        self.calibrated = run_kind("calibrate", params, inputs, folder / "calibrate")
        self.report = self.evaluate(folder / "evaluate", inputs)

    def evaluate(self, folder, inputs):
        """report.json, with calibrations as the supervisor hands them on."""
        calibrations = []
        for k, output in enumerate(self.calibrated):
            files = {path.name: str(path) for path in output.files}
            calibrations.append(
                {
                    "id": f"cal_{k}",
                    "model_id": output.values["model_id"],
                    "values": dict(output.values),
                    "scaling_path": files.get("scaling.json"),
                }
            )
        test_path = str(Path(self.dataset["train_path"]).with_name("test.safetensors"))
        inputs = {**inputs, "dataset": self.dataset | {"test_path": test_path}}
        inputs["calibrations"] = json.loads(json.dumps(calibrations, allow_nan=False))
        spec = {"n_bins": 10, "mts_ratios": []}
        params = {"calibrations": ["cal_" + "a" * 26], "seed": 1, "evaluate": spec}
        (output,) = run_kind("evaluate", params, inputs, folder)
        self.page = file_of(output, "report.html").read_text()
        return json.loads(file_of(output, "report.json").read_text())

    def network(self, index):
        """What the report says of the first network under one calibration."""
        return next(
            one
            for row in self.report["rows"]
            for one in row["networks"]
            if one["calibration_id"] == f"cal_{index}"
        )

    def probabilities(self, index, pixels):
        """What the exported program of the first network says of pixels."""
        program = torch.export.load(file_of(self.calibrated[index], "calibrated_model.pt2"))
        return program.module()(pixels).detach().double().numpy()


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Everything once, for all tests here."""
    return Run(tmp_path_factory.mktemp("run"))


def images_of(run, part):
    """Pixels in [0, 1] and labels of the test images, or of the validation cut."""
    if part == "test":
        held = load_file(Path(run.dataset["train_path"]).with_name("test.safetensors"))
        return held["images"].float() / 255, held["labels"].numpy()
    data = load_train_images(parse_json(DatasetInput, run.dataset))
    split = parse_json(Split, run.models[0]["config"]["split"])
    _, index = cut(data, split, 3)
    return data.images[index].float() / 255, data.labels[index].numpy()


def check(found, chances, labels):
    """Accuracy, Brier and NLL of the report, against probabilities got elsewhere."""
    at_label = chances[np.arange(len(labels)), labels]
    assert found["accuracy"] == (chances.argmax(1) == labels).mean()
    brier = ((chances - np.eye(3)[labels]) ** 2).sum(1).mean()
    assert found["brier"] == pytest.approx(brier, abs=1e-5)
    if (at_label == 0).any():
        assert found["nll"] is None
    else:
        assert found["nll"] == pytest.approx(-np.log(at_label).mean(), rel=1e-4)


def test_vector_scaling_is_folded_into_the_program(run):
    """The .pt2 shows what the report says; scaling.json by hand gives the same."""
    pixels, labels = images_of(run, "test")
    check(run.network(VECTOR), run.probabilities(VECTOR, pixels), labels)
    held = json.loads(file_of(run.calibrated[VECTOR], "scaling.json").read_text())
    logs = np.log(run.probabilities(NONE, pixels))
    centred = logs - logs.mean(1, keepdims=True)
    by_hand = softmax(np.array(held["weights"]) * centred + np.array(held["biases"]), axis=1)
    assert np.abs(by_hand - run.probabilities(VECTOR, pixels)).max() < 1e-4
    config = json.loads(file_of(run.calibrated[VECTOR], "config.json").read_text())
    assert "weights * (logits - mean" in config["how_to_use"]["model.safetensors"]


def test_vector_scaling_lowers_the_nll_it_is_fitted_for(run):
    """On validation, its NLL is below that of the best temperature's, and is what it says."""
    pixels, labels = images_of(run, "validation")
    chances = run.probabilities(VECTOR, pixels)
    nll = -np.log(chances[np.arange(len(labels)), labels]).mean()
    values = run.calibrated[VECTOR].values
    assert values["nll_after"] == pytest.approx(nll, rel=1e-4)
    assert nll < run.calibrated[EXACT].values["nll_after"]
    assert (values["status"], values["temperature"], values["fit_on"]) == ("ok", None, "validation")


def test_isotonic_regression_is_scikit_learns(run):
    """One a class on the validation images; there is no program, and the config says so."""
    pixels, labels = images_of(run, "validation")
    before = run.probabilities(NONE, pixels)
    test, test_labels = images_of(run, "test")
    raw = run.probabilities(NONE, test)
    columns = [
        IsotonicRegression(y_min=0, y_max=1, out_of_bounds="clip")
        .fit(before[:, k], labels == k)
        .predict(raw[:, k])
        for k in range(3)
    ]
    shares = np.stack(columns, 1)
    total = shares.sum(1, keepdims=True)
    chances = np.where(total > 0, shares / np.where(total > 0, total, 1), 1 / 3)
    check(run.network(ISOTONIC), chances, test_labels)
    output = run.calibrated[ISOTONIC]
    assert "calibrated_model.pt2" not in {path.name for path in output.files}
    config = json.loads(file_of(output, "config.json").read_text())
    assert "by hand" in config["how_to_use"]["calibrated_model.pt2"]


def test_the_ensemble_is_its_mixture(run):
    """By hand from scaling.json; no prediction changes, and there is no program."""
    test, test_labels = images_of(run, "test")
    raw, tempered = (run.probabilities(index, test) for index in (NONE, EXACT))
    output = run.calibrated[ETS]
    held = json.loads(file_of(output, "scaling.json").read_text())
    one, two, three = held["ensemble_weights"]
    chances = one * tempered + two * raw + three / 3
    check(run.network(ETS), chances, test_labels)
    assert (chances.argmax(1) == raw.argmax(1)).all()
    assert held["ensemble_temperature"] == run.calibrated[EXACT].values["temperature"]
    assert output.values["nll_after"] <= run.calibrated[EXACT].values["nll_after"] + 1e-6
    assert "calibrated_model.pt2" not in {path.name for path in output.files}


def test_scalings_are_read_back_exactly(run):
    """What evaluate reads is what was fitted, bit for bit; a file of something else is refused."""
    pixels, _ = images_of(run, "test")
    logits = torch.from_numpy(np.log(run.probabilities(NONE, pixels)))
    for index in (VECTOR, ISOTONIC, ETS):
        path = file_of(run.calibrated[index], "scaling.json")
        once = read_scaling(path)
        assert torch.equal(once.apply(logits), read_scaling(path).apply(logits))
        assert once.apply(logits).sum(1).numpy() == pytest.approx(1)
    wrong = path.with_name("wrong.json")
    for text in ("{", "[]", '{"method": "ts"}', '{"method": "vector", "weights": [1]}'):
        wrong.write_text(text)
        with pytest.raises(InvalidDataError, match=r"wanted a (scaling in wrong|scaling)\.json"):
            read_scaling(wrong)


def test_lbfgs_stops_where_its_loop_stops(run):
    """50 steps at rate 0.01 from 1.5, written out: that T, its status, its row."""
    pixels, labels = images_of(run, "validation")
    logits = torch.from_numpy(np.log(run.probabilities(NONE, pixels))).float()
    for index, n_steps in ((LBFGS_50, 50), (LBFGS_200, 200)):
        temperature = torch.tensor([1.5], requires_grad=True)
        optimiser = torch.optim.LBFGS([temperature], lr=0.01, max_iter=n_steps)

        def closure(temperature=temperature, optimiser=optimiser):
            optimiser.zero_grad()
            scores = logits / temperature
            loss = torch.nn.functional.cross_entropy(scores, torch.from_numpy(labels))
            loss.backward()
            return loss

        optimiser.step(closure)
        values = run.calibrated[index].values
        assert values["temperature"] == pytest.approx(float(temperature.detach()), rel=1e-3)
        assert values["reached"] == values["temperature"]
    best = run.calibrated[EXACT].values["temperature"]
    short = run.calibrated[LBFGS_50].values
    assert abs(math.log(short["temperature"] / best)) > 0.01
    assert short["status"] == "not_converged"
    test, test_labels = images_of(run, "test")
    scores = np.log(run.probabilities(NONE, test)) / short["temperature"]
    check(run.network(LBFGS_50), np.exp(log_softmax(scores, axis=1)), test_labels)


def test_the_report_has_a_row_each_in_words(run):
    """Labels for people; those short of the best are named; no temperature is made up."""
    rows = {row["calibration"]: row for row in run.report["rows"]}
    assert list(rows) == [
        "none",
        "TS on validation",
        "TS by 50 steps of L-BFGS on validation",
        "TS by 200 steps of L-BFGS on validation",
        "vector scaling on validation",
        "isotonic regression on validation",
        "vector scaling on training set",
        "ETS on validation",
    ]
    assert rows["vector scaling on training set"]["status"] == "separable"
    assert rows["vector scaling on validation"]["temperature"]["mean"] is None
    assert rows["TS by 50 steps of L-BFGS on validation"]["status"] == "not_converged"
    said = " ".join(run.report["findings"])
    assert "stopped short of the best fit" in said
    assert "Vector scaling on training set has no best fit" in said
    assert "<b>not converged</b>" in run.page
