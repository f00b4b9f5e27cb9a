"""A network made elsewhere, through the whole service: in, calibrated, reported, out again."""

import json

import numpy as np
import onnxruntime
from sklearn.datasets import load_digits

from ddcal.client import Client
from tests.core.formats.onnx_made import onnx_model
from tests.services import run_ddcal


def digits_network():
    """A linear network for digits of 16 pixels in [0, 1], least squares; its ONNX file."""
    digits = load_digits()
    flat = digits.images.reshape(len(digits.images), -1) / 16
    weights = np.linalg.pinv(flat, rcond=1e-2) @ (8 * np.eye(10)[digits.target])
    return onnx_model(weights.astype(np.float32)).SerializeToString()


def test_a_graph_of_onnx_is_calibrated_like_a_network_of_ours(service, tmp_path):
    """Confined as jobs are; told as imported; what comes out is ONNX that gives its numbers."""
    (tmp_path / "linear.onnx").write_bytes(digits_network())
    how = ("--dataset", "digits", "--space", "pixels", "--watch")
    sent = run_ddcal("upload-model", "mine", tmp_path / "linear.onnx", *how, url=service.url)
    assert sent.returncode == 0, sent.stderr
    model_id, name = sent.stdout.split()
    assert name == "mine"
    methods = [{"method": "ts", "fit_on": "validation"}]
    methods.append({"method": "mts", "fit_on": "validation", "mask": {"ratio": 0.3}})
    with Client(service.url) as client:
        fitted = client.submit("calibrate", models=[model_id], calibrate=methods)
        measured = client.submit("evaluate", calibrations=[fitted.id])
        measured.wait(timeout=600)
        measured.download(tmp_path / "report")
        fitted.download(tmp_path / "fitted")
        intake = client.result("model", model_id).record.job_id
        assert "not kept from" not in client.job(intake).log
    report = json.loads(next((tmp_path / "report").rglob("report.json")).read_text())
    assert report["training_sets"][0]["label"] == "ONNX network, imported"
    none, ts, mts = report["rows"]
    assert none["accuracy"]["mean"] == ts["accuracy"]["mean"] > 0.8
    assert ts["ece"]["mean"] < none["ece"]["mean"]
    folder = tmp_path / "fitted/ts-validation/seed-0"
    session = onnxruntime.InferenceSession(str(folder / "calibrated_model.onnx"))
    pixels = np.zeros((3, 1, 8, 8), np.float32)
    probabilities, logits = session.run(["probabilities", "logits"], {"pixels": pixels})
    exp = np.exp(logits / ts["temperature"]["mean"])
    np.testing.assert_allclose(probabilities, exp / exp.sum(1, keepdims=True), atol=1e-5)
    assert mts["temperature"]["mean"] != ts["temperature"]["mean"]


def test_what_cannot_be_asked_fails_its_job_in_words(service, tmp_path):
    """And the command says them."""
    (tmp_path / "broken.onnx").write_bytes(digits_network()[:-100])
    how = ("--dataset", "digits", "--space", "pixels", "--watch")
    sent = run_ddcal("upload-model", "mine", tmp_path / "broken.onnx", *how, url=service.url)
    assert sent.returncode == 1
    assert "is it cut off?" in sent.stderr
