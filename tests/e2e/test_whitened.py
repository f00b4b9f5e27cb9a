"""A pipeline in ZCA space on some classes with a long tail, through the whole service."""

import json

import pytest
import torch

from ddcal_core.data.labelled import load_named, pick_classes
from tests.services import TINY_PIPELINE, run_ddcal

CLASSES = (8, 3, 1)


@pytest.fixture(scope="module")
def files(service, tmp_path_factory):
    """Everything such a pipeline on digits has made, downloaded, in its folders."""
    folder = tmp_path_factory.mktemp("whitened")
    request = json.loads(json.dumps(TINY_PIPELINE))
    request["params"] |= {
        "classes": ["8", 3, "1"],
        "imbalance": {"factor": 0.1},
        "input_space": {"name": "zca"},
        "calibrate": [{"method": "none"}, {"method": "ts", "fit_on": "validation"}],
    }
    (folder / "pipeline.json").write_text(json.dumps(request))
    submitted = run_ddcal("submit", "pipeline.json", "--watch", url=service.url, folder=folder)
    assert submitted.returncode == 0, submitted.stderr
    job_id = submitted.stdout.strip()
    fetched = run_ddcal("download", job_id, "--out", folder / "files", url=service.url)
    assert fetched.returncode == 0, fetched.stderr
    return folder / "files"


def test_a_downloaded_program_has_the_reports_accuracy_on_raw_pixels(files, tmp_path):
    """Pixels in [0, 1] of the three classes, nothing else: the .pt2 has the matrix inside."""
    test = pick_classes(load_named("digits", "test", tmp_path, False), CLASSES)
    report = json.loads((files / "evaluate/report.json").read_text())
    assert (report["n_test"], report["class_names"]) == (len(test.labels), ["8", "3", "1"])
    rows = {(row["training_set"], row["method"]): row["networks"] for row in report["rows"]}
    assert len(rows) == 4
    n_programs = 0
    for (source, method), networks in rows.items():
        place = "none" if method == "none" else "ts-validation"
        for network in networks:
            folder = files / f"calibrate-{source}" / place / f"seed-{network['seed_index']}"
            path = folder / "calibrated_model.pt2"
            assert (folder / "input_space.safetensors").exists()
            assert path.exists() == (network["temperature"] is not None)
            if not path.exists():
                continue
            found = torch.export.load(path).module()(test.images.float() / 255).argmax(1)
            right = (found == test.labels).double().mean()
            assert float(right) == pytest.approx(network["accuracy"])
            n_programs += 1
    assert n_programs >= 2


def test_each_row_says_what_it_was_made_of(files):
    """Manifest, configs and report tell of one choice of classes, long tail and space."""
    manifest = json.loads((files / "distill/manifest.json").read_text())
    assert manifest["split"]["classes"] == list(CLASSES)
    assert manifest["split"]["imbalance"] == 0.1
    # 126, 132 and 131 images, a fifth of them cut (25, 26, 26): 106 * 0.1^(k/2) at most.
    assert manifest["real_class_counts"] == [101, 33, 10]
    for source in ("distilled", "random"):
        config = json.loads((files / f"train-{source}/seed-0/config.json").read_text())
        assert config["split"] == manifest["split"]
        assert config["input_space"] == manifest["input_space"] == {"name": "zca", "eps": 0.1}
    report = json.loads((files / "evaluate/report.json").read_text())
    assert all("ZCA, long tail 0.1" in one["label"] for one in report["training_sets"])
