"""`ddcal distil`: one command from images to the report, against the real API."""

import json
import threading
from pathlib import Path

import pytest

from app.shared.engine import runs
from app.shared.inputs.datasets import accept_dataset
from app.shared.store.job_records import Ending
from ddcal.cli.distil import name_of, pipeline
from tests.api.npz import npz
from tests.api.serving import FACTS, MODEL, SET

NUMBER = {"mean": 0.5, "std": None, "n": 1}
ROW = {"training_set_label": "distilled", "calibration": "none", "method": "none", "ece": NUMBER}
CALIBRATION = {"model_id": None, "method": "none", "fit_on": None, "status": "ok"}
REPORT = {"dataset": "mine", "headline": "It is calibrated.", "rows": [ROW], "n_test": 10}


@pytest.fixture
def worker(api):
    """Checks uploads, and ends each job with a small result; gives the kinds that it has run."""
    kinds, is_over = [], threading.Event()

    def result_of(run):
        match run.kind:
            case "distill":
                return "distilled_set", {**SET, "dataset": "mine"}, {"manifest.json": b"{}"}
            case "train":
                return "model", {**MODEL, "dataset": "mine", "seed_index": 0}, {}
            case "evaluate":
                files = {"report.html": b"<p>", "report.json": b"{}"}
                return "report", {**REPORT, "calibration_ids": []}, files
        raise AssertionError(run.kind)

    def work():
        while not is_over.wait(0.02):
            for queue in ("intake", "gpu"):
                with api.database.write() as connection:
                    run = runs.claim_next(connection, queue=queue, worker="w", lease_seconds=60)
                if run is None:
                    continue
                kinds.append(run.kind)
                if run.kind == "intake":
                    end_intake(api, run)
                elif run.kind == "calibrate":
                    api.succeed(run)
                else:
                    api.succeed(run, result_of(run))

    thread = threading.Thread(target=work)
    thread.start()
    yield kinds
    is_over.set()
    thread.join()


def end_intake(api, run):
    """As the intake process would."""
    with api.database.write() as connection:
        accept_dataset(connection, run, FACTS)
        runs.succeed(connection, run, Ending())


@pytest.mark.long
def test_one_command_does_it_all(run, worker, tmp_path, capsys):
    """Upload, distil, train, calibrate, evaluate, download; sent again, the upload is known."""
    images = tmp_path / "my images!.npz"
    images.write_bytes(npz())
    out = tmp_path / "out"
    said = ("--name", "mine, 3 a class", "--tag", "env=prod", "--notes", "a try")
    assert run("distil", images, "--ipc", "3", "--out", out, *said) == 0
    told = capsys.readouterr()
    assert "uploaded my-images\n" in told.err
    assert worker[0] == "intake"
    assert {"distill", "train", "calibrate", "evaluate"} <= set(worker)
    assert "It is calibrated." in told.out
    assert (out / "evaluate" / "report.html").read_bytes() == b"<p>"
    names = {"jobs": "mine, 3 a class", "datasets": "my-images", "reports": "mine, 3 a class"}
    for command, name in names.items():
        assert run(command, "--tag", "env=prod", "--json") == 0
        (found,) = json.loads(capsys.readouterr().out)
        assert found["name"] == name

    assert run("distil", images, "--ipc", "3", "--out", out, "--json") == 0
    told = capsys.readouterr()
    assert "my-images is there already, with the same content" in told.err
    shown = json.loads(told.out)
    assert shown["job"]["params"]["distill"]["images_per_class"] == 3
    assert shown["report"]["headline"] == "It is calibrated."
    assert str(out / "evaluate" / "report.html") in shown["files"]

    job_id = shown["job"]["id"]
    assert run("open", job_id) == 0
    assert Path(capsys.readouterr().out.strip()).read_bytes() == b"<p>"
    assert run("open", job_id, "--json") == 0
    opened = json.loads(capsys.readouterr().out)
    assert (opened["job"], Path(opened["report"]).read_bytes()) == (job_id, b"<p>")

    images.write_bytes(npz(class_names=["a", "b"]))
    assert run("distil", images) == 1
    assert (
        "another data set 'my-images' already: name this one by --dataset"
        in capsys.readouterr().err
    )


def test_what_cannot_be_is_told_before_anything_is_sent(run, tmp_path, capsys):
    """A method that there is not, and a name that is no file and no data set."""
    images = tmp_path / "images.npz"
    images.write_bytes(npz())
    assert run("distil", images, "--method", "foo") == 2
    assert "'dm', 'dc'" in capsys.readouterr().err
    assert run("distil", "digitz") == 1
    told = capsys.readouterr().err
    assert (
        told == "ddcal: there is no file, folder or data set digitz (ddcal datasets lists them)\n"
    )
    assert run("datasets", "--search", "images") == 0
    assert capsys.readouterr().out == ""


def test_the_request_asks_what_people_want_to_know():
    """With random images beside, and calibrations with and without labels."""
    params = pipeline("mine", 10, "dsa", 0.3)["params"]
    assert params["distill"] == {"method": "dsa", "images_per_class": 10, "mask": {"ratio": 0.3}}
    assert [one["method"] for one in params["calibrate"]] == ["none", "ts", "mts"]
    assert "mask" not in pipeline("mine", 10, "dm", None)["params"]["distill"]


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("a b.npz", "a-b"),
        ("Katzen & Hunde", "Katzen-Hunde"),
        ("猫.zip", "images"),
        ("x" * 99, "x" * 64),
    ],
)
def test_a_data_set_is_called_as_its_file(tmp_path, file, name):
    """With the letters that a name may have."""
    assert name_of(tmp_path / file) == name
