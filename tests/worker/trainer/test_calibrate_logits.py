"""`calibrate` on uploaded logits: fitted on the fit rows, measured on the others, reported."""

import csv
import gzip
import itertools
import json
import math

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, softmax
from sklearn.isotonic import IsotonicRegression

from ddcal_core.specs.logits import LogitsFacts
from tests.worker.small_jobs import file_of, run_kind

K = 4
NAME = "my<b>net"


def drawn(n, *, temperature, seed):
    """Logits of a network that would be calibrated at this temperature, and labels."""
    generator = np.random.default_rng(seed)
    truth = generator.normal(size=(n, K)) * 1.5
    chances = softmax(truth, axis=1)
    labels = np.array([generator.choice(K, p=row) for row in chances])
    return truth * temperature, labels


def logits_input(folder, fit, test=None):
    """The parts on disk as the supervisor hands them on."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = {}
    for part, rows in (("fit", fit), ("test", test)):
        if rows is not None:
            paths[part] = folder / f"{part}.safetensors"
            logits, labels = (torch.from_numpy(np.ascontiguousarray(array)) for array in rows)
            save_file({"logits": logits, "labels": labels}, paths[part])

    def counts(rows):
        return () if rows is None else tuple(int(n) for n in np.bincount(rows[1], minlength=K))

    facts = LogitsFacts(
        class_names=("a", "b", "c", "d"),
        fit_class_counts=counts(fit),
        test_class_counts=counts(test),
        dtype="float64",
    )
    return {
        "name": NAME,
        "sha256": "0" * 64,
        "facts": facts.model_dump(mode="json"),
        "fit_rows_path": str(paths["fit"]),
        "test_rows_path": str(paths["test"]) if "test" in paths else None,
    }


def calibrate(folder, fit, test=None, **params):
    """Run the job; give its outputs by key and report.json."""
    inputs = {"logits": logits_input(folder / "in", fit, test)}
    outputs = {
        output.key: output
        for output in run_kind("calibrate", {"logits": "net", **params}, inputs, folder / "out")
    }
    report = json.loads(file_of(outputs["report"], "report.json").read_text())
    return outputs, report


LABELS = np.arange(400) % K
RIGHT = np.eye(K)[LABELS] * 3.0
FIT, TEST = drawn(3_000, temperature=2.5, seed=1), drawn(2_000, temperature=2.5, seed=4)


@pytest.fixture(scope="module")
def job(tmp_path_factory):
    """Over-confident logits with rows of their own to measure on."""
    return calibrate(tmp_path_factory.mktemp("job"), FIT, TEST)


def nll(rows, temperature):
    """Mean negative log-likelihood, by SciPy."""
    logits, labels = rows
    return -log_softmax(logits / temperature, axis=1)[np.arange(len(labels)), labels].mean()


def ece(rows, temperature, n_bins=15):
    """ECE by a plain loop over bins."""
    logits, labels = rows
    chances = softmax(logits / temperature, axis=1)
    confidence, is_right = chances.max(1), chances.argmax(1) == labels
    total = 0.0
    for low, high in itertools.pairwise(np.linspace(0, 1, n_bins + 1)):
        inside = (confidence > low) & (confidence <= high)
        if inside.any():
            total += inside.mean() * abs(is_right[inside].mean() - confidence[inside].mean())
    return total


def test_the_temperature_is_scipys_on_the_fit_rows_alone(job):
    """The minimum of the NLL over the fit rows, found by another library; near the one drawn."""
    outputs, _ = job
    values = outputs["calibration_ts"].values
    best = minimize_scalar(
        lambda log_t: nll(FIT, math.exp(log_t)), bracket=(0, 1), options={"xtol": 1e-10}
    )
    assert values["temperature"] == pytest.approx(math.exp(best.x), rel=1e-6)
    assert values["temperature"] == pytest.approx(2.5, rel=0.1)
    assert (values["status"], values["n"], values["fit_on"]) == ("ok", 3_000, "fit rows")
    assert values["nll_after"] == pytest.approx(best.fun, rel=1e-9)


def test_the_numbers_are_a_plain_loops_on_the_test_rows(job):
    """ECE and NLL before and after, by hand, on rows that nothing was fitted on."""
    outputs, report = job
    assert [row["calibration"] for row in report["rows"]] == ["none", "TS on fit rows"]
    temperatures = (1.0, outputs["calibration_ts"].values["temperature"])
    for row, temperature in zip(report["rows"], temperatures, strict=True):
        assert row["ece"]["mean"] == pytest.approx(ece(TEST, temperature), abs=1e-9)
        assert row["nll"]["mean"] == pytest.approx(nll(TEST, temperature), rel=1e-9)
        assert row["n_test"] == 2_000
    before, after = report["rows"]
    assert before["verdict"] == "over-confident"
    assert after["verdict"] == "within chance"


def test_each_temperature_has_a_small_file(job):
    """temperature.json says what was found, where, and how to use it."""
    outputs, _ = job
    for key in ("calibration_none", "calibration_ts"):
        found = json.loads(file_of(outputs[key], "temperature.json").read_text())
        assert found["temperature"] == outputs[key].values["temperature"]
        assert found["logits"] == NAME
        assert found["measured"]["ece"] >= 0
        assert found["measured_on"] == "test rows"
        assert found["apply"] == "softmax(logits / temperature)"


def test_the_page_is_whole_and_escaped(job):
    """A page without images, training or network, in which the name is only text."""
    outputs, report = job
    page = file_of(outputs["report"], "report.html").read_text()
    assert "my&lt;b&gt;net" in page
    assert NAME not in page
    assert "<dt>rows fitted on</dt><dd>3,000</dd>" in page
    assert "not known here" in page
    for absent in ("None", "distilled images", "<dt>image</dt>", "NaN"):
        assert absent not in page
    assert report["measured_on"] == "test rows"
    assert len(report["findings"]) == 2
    assert report["headline"].startswith(f"On the test rows of {NAME}, the network trained on data")


def test_every_prediction_is_in_a_table(job):
    """predictions.csv.gz has each row under each calibration, as SciPy's softmax has it."""
    outputs, _ = job
    path = file_of(outputs["report"], "predictions.csv.gz")
    with gzip.open(path, "rt", encoding="utf-8", newline="") as file:
        lines = list(csv.DictReader(file))
    logits, labels = TEST
    temperatures = {"none": 1.0, "TS on fit rows": outputs["calibration_ts"].values["temperature"]}
    assert len(lines) == 2 * len(labels)
    for calibration, temperature in temperatures.items():
        own = [line for line in lines if line["calibration"] == calibration]
        chances = softmax(logits / temperature, axis=1)
        found = np.array([float(line["confidence"]) for line in own])
        assert found == pytest.approx(chances.max(1), abs=1e-8)
        assert [int(line["prediction"]) for line in own] == chances.argmax(1).tolist()
        assert [int(line["label"]) for line in own] == labels.tolist()


def test_the_report_says_who_won_and_whether_by_more_than_noise(job, tmp_path):
    """TS over logits 2.5 times too large, clearly; over calibrated ones, not."""
    (comparison,) = job[1]["comparisons"]
    assert comparison["winner"] == "TS on fit rows"
    assert "more than noise" in comparison["words"]
    assert "not more than noise" not in comparison["words"]
    assert "image" not in comparison["words"]
    calibrated = [(logits / 2.5, labels) for logits, labels in (FIT, TEST)]
    (comparison,) = calibrate(tmp_path, *calibrated)[1]["comparisons"]
    assert "not more than noise" in comparison["words"]


@pytest.fixture(scope="module")
def skewed(tmp_path_factory):
    """Logits with a scale and an offset a class, which no one temperature puts right."""
    scale, offset = np.array([1.0, 2.0, 3.0, 4.0]), np.array([0.0, 1.0, -1.0, 2.0])
    rows = []
    for n, seed in ((4_000, 5), (2_000, 6)):
        logits, labels = drawn(n, temperature=1.0, seed=seed)
        centred = logits - logits.mean(1, keepdims=True)
        rows.append((centred * scale + offset, labels))
    specs = [{"method": name} for name in ("none", "ts", "vector", "isotonic")]
    return rows, *calibrate(tmp_path_factory.mktemp("skewed"), *rows, calibrate=specs)


def test_vector_scaling_is_applied_as_its_file_says(skewed):
    """Weights and biases by hand give the report's NLL, below that of the best temperature."""
    ((_, (logits, labels)), outputs, report) = skewed
    found = json.loads(file_of(outputs["calibration_vector"], "scaling.json").read_text())
    centred = logits - logits.mean(1, keepdims=True)
    logs = log_softmax(np.array(found["weights"]) * centred + np.array(found["biases"]), axis=1)
    by_hand = -logs[np.arange(len(labels)), labels].mean()
    by_method = {row["method"]: row for row in report["rows"]}
    assert by_method["vector"]["nll"]["mean"] == pytest.approx(by_hand, rel=1e-9)
    assert by_hand < by_method["ts"]["nll"]["mean"] - 0.01
    assert by_method["vector"]["calibration"] == "vector scaling on fit rows"
    assert found["temperature"] is None


def test_isotonic_is_scikit_learns_class_by_class(skewed):
    """One isotonic regression a class on the fit rows, rows divided by their sums."""
    ((fit_logits, fit_labels), (logits, labels)), outputs, report = skewed
    before, raw = softmax(fit_logits, axis=1), softmax(logits, axis=1)
    shares = np.stack(
        [
            IsotonicRegression(y_min=0, y_max=1, out_of_bounds="clip")
            .fit(before[:, k], fit_labels == k)
            .predict(raw[:, k])
            for k in range(K)
        ],
        axis=1,
    )
    chances = shares / shares.sum(1, keepdims=True)
    row = next(row for row in report["rows"] if row["method"] == "isotonic")
    one_hot = np.eye(K)[labels]
    assert row["brier"]["mean"] == pytest.approx(((chances - one_hot) ** 2).sum(1).mean(), rel=1e-6)
    assert row["accuracy"]["mean"] == pytest.approx((chances.argmax(1) == labels).mean())
    is_infinite = bool((chances[np.arange(len(labels)), labels] == 0).any())
    assert (row["nll"]["mean"] is None) == is_infinite
    found = json.loads(file_of(outputs["calibration_isotonic"], "scaling.json").read_text())
    assert len(found["probabilities"]) == len(found["shares"]) == K


def test_a_separable_vector_scaling_is_a_status(tmp_path):
    """As for the temperature it starts from: a limit, and no weights."""
    outputs, report = calibrate(tmp_path, (RIGHT, LABELS), calibrate=[{"method": "vector"}])
    values = outputs["calibration_vector"].values
    assert (values["status"], values["temperature"]) == ("separable", None)
    found = json.loads(file_of(outputs["calibration_vector"], "temperature.json").read_text())
    assert found["apply"] is None
    assert report["rows"][-1]["status"] == "separable"


def test_without_test_rows_the_report_says_what_its_numbers_are_worth(tmp_path):
    """The same rows twice, said in the findings, the figures, the convention and each file."""
    outputs, report = calibrate(tmp_path, FIT, calibrate=[{"method": "ts"}])
    assert report["measured_on"] == "fit rows"
    assert report["n_test"] == 3_000
    assert "on the rows the temperature was fitted on" in report["findings"][-1]
    assert report["facts"]["rows measured on"] == "the same"
    assert "flattered" in report["conventions"]["n_test"]
    page = file_of(outputs["report"], "report.html").read_text()
    assert "There were no test rows" in page
    found = json.loads(file_of(outputs["calibration_ts"], "temperature.json").read_text())
    assert found["measured_on"] == "fit rows"
    # The reference is measured though nobody asked for it; no calibration is made of it.
    assert [row["method"] for row in report["rows"]] == ["none", "ts"]
    assert set(outputs) == {"calibration_ts", "report"}


@pytest.mark.parametrize(
    ("logits", "status", "limit"),
    [
        (RIGHT, "separable", 0.0),
        (np.zeros((400, K)), "unidentified", None),
        (-RIGHT, "worse_than_chance", 0.25),
    ],
)
def test_what_has_no_best_temperature_is_a_status(tmp_path, logits, status, limit):
    """All right, constant, worse than chance: the job succeeds, with a name and no temperature."""
    outputs, report = calibrate(tmp_path, (logits, LABELS))
    values = outputs["calibration_ts"].values
    assert (values["status"], values["temperature"]) == (status, None)
    row = report["rows"][-1]
    assert row["status"] == status
    if limit is not None:
        assert row["ece"]["mean"] == pytest.approx(limit)
    json.dumps(report, allow_nan=False)
    page = file_of(outputs["report"], "report.html").read_text()
    assert f"<b>{status.replace('_', ' ')}</b>" in page


@pytest.mark.parametrize("factor", [1e-4, 1e4, 1e-30, 1e30])
def test_the_scale_of_logits_is_the_temperatures(tmp_path, job, factor):
    """Logits times a factor: the temperature times it, the probabilities the same."""
    expected = job[0]["calibration_ts"].values["temperature"]
    scaled = [(logits * factor, labels) for logits, labels in (FIT, TEST)]
    outputs, report = calibrate(tmp_path, *scaled)
    found = outputs["calibration_ts"].values
    assert found["status"] == "ok"
    assert found["temperature"] / factor == pytest.approx(expected, rel=1e-9)
    assert report["rows"][1]["ece"]["mean"] == pytest.approx(job[1]["rows"][1]["ece"]["mean"])


def test_the_same_job_gives_the_same_numbers(tmp_path, job):
    """But for its seconds."""
    _, again = calibrate(tmp_path, FIT, TEST)
    assert again["rows"] == job[1]["rows"]


ALL = [
    {"method": "none"}, {"method": "ts"}, {"method": "ts", "optimiser": "lbfgs_50"},
    {"method": "ts", "optimiser": "lbfgs_200"}, {"method": "vector"}, {"method": "isotonic"},
]  # fmt: skip


@pytest.mark.long
@pytest.mark.parametrize("mask", [-1e9, -1e17, -1e30, float(np.finfo(np.float32).min), -1.7e308])
def test_a_masked_class_changes_no_calibration(tmp_path, mask):
    """Every method ends, and temperature and ECE are those without the class; none certain."""
    logits, labels = FIT[0][:400], FIT[1][:400]
    labels = np.where(labels == K - 1, 0, labels)
    masked = logits.copy()
    masked[:, K - 1] = mask
    outputs, report = calibrate(tmp_path / "masked", (masked, labels), calibrate=ALL)
    alone, _ = calibrate(tmp_path / "alone", (masked[:, :-1], labels), calibrate=ALL)
    found = outputs["calibration_ts"].values
    assert found["temperature"] == pytest.approx(
        alone["calibration_ts"].values["temperature"], rel=1e-12
    )
    assert found["logit_spread"] == pytest.approx(
        alone["calibration_ts"].values["logit_spread"], rel=1e-12
    )
    assert "nearly_certain" not in found["failures"]
    row = next(row for row in report["rows"] if row["calibration"] == "TS on fit rows")
    assert row["ece"]["mean"] == pytest.approx(
        ece((masked[:, :-1], labels), found["temperature"]), abs=1e-9
    )
    assert outputs["calibration_vector"].values["status"] == "ok"


@pytest.mark.parametrize("size", [1e17, 1e30, 1e100, 1.7e308])
def test_rows_that_exploded_end_in_a_report(tmp_path, size):
    """No error in the service, whatever a few finite values do to a method."""
    logits, labels = FIT[0][:200].copy(), FIT[1][:200]
    logits[3, (labels[3] + 1) % K], logits[4, labels[4]] = size, size
    logits[5] *= size / 1e3
    _, report = calibrate(tmp_path, (np.nan_to_num(logits), labels), calibrate=ALL)
    assert len(report["rows"]) == len(ALL)


def test_what_was_odd_about_the_upload_stands_in_the_report(tmp_path):
    """Notes follow the headline; how many test rows were fitted on is among the facts."""
    inputs = {"logits": logits_input(tmp_path / "in", FIT, TEST)}
    inputs["logits"]["facts"] |= {"notes": ["Odd, so do this."], "n_test_in_fit": 7}
    outputs = run_kind("calibrate", {"logits": "net"}, inputs, tmp_path / "out")
    files = next(output for output in outputs if output.key == "report")
    report = json.loads(file_of(files, "report.json").read_text())
    assert report["findings"][1] == "Odd, so do this."
    assert report["facts"]["test rows also fitted on"] == "7"
    assert "Odd, so do this." in file_of(files, "report.html").read_text()
