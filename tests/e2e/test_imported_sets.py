"""Sets made elsewhere, through the whole service: in, trained on, calibrated, reported."""

import json

import torch
from safetensors.torch import load_file

from ddcal.client import Client
from ddcal_core.data.dataset_facts import NAMED_DATASETS
from tests.core.intake.set_files_made import dc_file
from tests.services import run_ddcal

DIGITS = NAMED_DATASETS["digits"]
TRAIN = {"network": "convnet", "width": 8, "depth": 2, "n_seeds": 1, "epochs": 3}


def test_a_set_of_the_official_structure_is_used_like_one_made_here(service, tmp_path):
    """Two experiments come in; one is trained on, calibrated and reported, and told as imported."""
    data = dc_file(tmp_path / "res_DC.pt", 2, 2, facts=DIGITS)
    how = ("--dataset", "digits", "--space", "standardised", "--watch")
    sent = run_ddcal("upload-set", "dc", tmp_path / "res_DC.pt", *how, url=service.url)
    assert sent.returncode == 0, sent.stderr
    ids, names = zip(*(line.split() for line in sent.stdout.splitlines()), strict=True)
    assert sorted(names) == ["dc-0", "dc-1"]
    with Client(service.url) as client:
        source = {"source": "distilled", "distilled_set": ids[names.index("dc-1")]}
        trained = client.submit("train", training_set=source, train=TRAIN)
        methods = [{"method": "none"}, {"method": "ts", "fit_on": "training_set"}]
        fitted = client.submit("calibrate", models=[trained.id], calibrate=methods)
        measured = client.submit("evaluate", calibrations=[fitted.id])
        measured.wait(timeout=600)
        measured.download(tmp_path / "out")
        (model,) = trained.results
        client.job(client.result("distilled_set", ids[0]).record.job_id).download(tmp_path / "sets")
        assert model.record.details["distilled_set_id"] == source["distilled_set"]
    kept = load_file(tmp_path / "sets/set-1/distilled_set.safetensors")
    assert torch.equal(kept["images"], data[1][0])
    report = json.loads(next((tmp_path / "out").rglob("report.json")).read_text())
    (training_set,) = report["training_sets"]
    assert training_set["distilled"]["imported"]["experiment"] == 1
    assert training_set["label"] == "distilled elsewhere (2 per class)"
    assert training_set["n_train"] == len(data[1][0])
    page = next((tmp_path / "out").rglob("report.html")).read_text()
    assert "made elsewhere and imported: set 1 of 2 in a file of format dc" in page


def test_mtts_pair_is_refused_by_its_job_where_its_content_is_wrong(service, tmp_path):
    """What only its numbers tell: the command fails and says what they look like."""
    torch.save(torch.randn(10, 1, 8, 8), tmp_path / "images_best.pt")
    torch.save(torch.arange(10), tmp_path / "labels_best.pt")
    how = ("--dataset", "digits", "--space", "pixels", "--labels", tmp_path / "labels_best.pt")
    sent = run_ddcal(
        "upload-set", "mtt", tmp_path / "images_best.pt", *how, "--watch", url=service.url
    )
    assert sent.returncode == 1
    assert "look standardised" in sent.stderr
