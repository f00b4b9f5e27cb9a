import json
from dataclasses import replace

import pytest
import torch

from ddcal_core.errors import StoppedError
from ddcal_core.progress import ignore_progress
from tests.worker.small_jobs import distill_params, file_of, write_dataset
from worker.trainer.inputs import Task
from worker.trainer.kinds.distill import run

SELECTION = {"n_evaluations": 2, "epochs": 2}
METHODS = {
    "dm": {"augmentation": ["color", "flip"]},
    "dc": {"method": "dc", "outer_loops": 2, "inner_epochs": 1},
    "dsa": {"method": "dsa", "outer_loops": 2, "inner_epochs": 1},
}


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    """A small data set on disk."""
    return write_dataset(tmp_path_factory.mktemp("data"))


def task_of(method, dataset, folder, **changes):
    """A distillation of six steps that writes each checkpoint."""
    folder.mkdir(parents=True)
    params = distill_params(iterations=6, selection=SELECTION, **METHODS[method])
    task = Task(
        params,
        {"dataset": dataset},
        folder,
        torch.device("cpu"),
        ignore_progress,
        recipe="r",
        checkpoint_seconds=0.0,
    )
    return replace(task, **changes)


def set_bytes(output):
    """The distilled set as it lies on disk."""
    return file_of(output, "distilled_set.safetensors").read_bytes()


@pytest.mark.parametrize("method", METHODS)
def test_a_killed_job_goes_on_to_the_same_bytes(method, dataset, tmp_path):
    """Stopped in the fifth step; the next attempt says where it goes on and ends the same."""
    (whole,) = run(task_of(method, dataset, tmp_path / "whole"))
    checkpoint, notes, reports = tmp_path / "checkpoint", [], []

    def stop(progress):
        if progress.step == 5:
            raise StoppedError

    with pytest.raises(StoppedError):
        run(task_of(method, dataset, tmp_path / "a", checkpoint=checkpoint, on_progress=stop))
    (again,) = run(
        task_of(
            method,
            dataset,
            tmp_path / "b",
            checkpoint=checkpoint,
            on_progress=reports.append,
            on_note=lambda code, message, **_: notes.append((code, message)),
        )
    )
    assert set_bytes(again) == set_bytes(whole)
    assert notes[0] == ("resumed", "went on after step 4")
    assert len(notes) == 1 + len(whole.values.get("warnings", ()))
    assert min(report.step for report in reports if report.phase == "distill") == 5
    for name in ("chosen_step", "n_steps", "validation_accuracies", "n_rollbacks"):
        assert again.values[name] == whole.values[name]


def test_a_checkpoint_of_another_recipe_is_left_alone(dataset, tmp_path):
    """The job says so and starts from its beginning, to the same end."""
    checkpoint, notes = tmp_path / "checkpoint", []
    run(task_of("dm", dataset, tmp_path / "a", checkpoint=checkpoint, recipe="other"))
    (whole,) = run(task_of("dm", dataset, tmp_path / "b"))
    (again,) = run(
        task_of(
            "dm",
            dataset,
            tmp_path / "c",
            checkpoint=checkpoint,
            on_note=lambda code, message, **_: notes.append((code, message)),
        )
    )
    assert set_bytes(again) == set_bytes(whole)
    code, message = notes[0]
    assert code == "checkpoint_unusable"
    assert "wanted a checkpoint of recipe r in checkpoint; got one of other" in message


def test_checkpoints_keep_their_distance(dataset, tmp_path):
    """None is written before its time has come."""
    checkpoint = tmp_path / "checkpoint"
    run(task_of("dm", dataset, tmp_path / "a", checkpoint=checkpoint, checkpoint_seconds=3600.0))
    assert not checkpoint.exists()


def test_the_manifest_tells_how_the_set_was_chosen(dataset, tmp_path):
    """Accuracy at the start and at each evaluation; the set is that of the best step, not 0."""
    (output,) = run(task_of("dsa", dataset, tmp_path / "a"))
    manifest = json.loads(file_of(output, "manifest.json").read_text())
    accuracies = {row["step"]: row["accuracy"] for row in manifest["validation_accuracies"]}
    assert list(accuracies) == [0, 3, 6]
    best = max(accuracies[3], accuracies[6])
    assert manifest["chosen_step"] == (3 if accuracies[3] == best else 6)
    assert (manifest["method"], manifest["n_steps"], manifest["n_rollbacks"]) == ("dsa", 6, 0)
    assert manifest["learned_lr"] is None
    assert manifest["distill"]["selection"] == {**SELECTION, "patience": None}


@pytest.mark.parametrize(("depth", "codes"), [(2, []), (3, ["deep_network"])])
def test_a_network_too_deep_for_small_images_is_told_of(depth, codes, dataset, tmp_path):
    """On 8 x 8 images a third block has squares of 2 x 2 to normalise."""
    notes = []
    task = task_of("dm", dataset, tmp_path / "a", on_note=lambda code, *_, **__: notes.append(code))
    spec = {**task.params["distill"], "depth": depth}
    run(replace(task, params={**task.params, "distill": spec}))
    assert [code for code in notes if code == "deep_network"] == codes


def test_a_set_worse_than_its_start_says_so(dataset, tmp_path):
    """Steps far too large for the images: told as a note, and kept in the manifest."""
    notes = []
    task = task_of(
        "dm",
        dataset,
        tmp_path / "a",
        on_note=lambda code, message, **_: notes.append((code, message)),
    )
    spec = {
        **task.params["distill"],
        "lr": 1_000.0,
        "selection": {"n_evaluations": 2, "epochs": 40},
    }
    (output,) = run(replace(task, params={**task.params, "distill": spec}))
    manifest = json.loads(file_of(output, "manifest.json").read_text())
    accuracies = {row["step"]: row["accuracy"] for row in manifest["validation_accuracies"]}
    assert accuracies[0] > max(accuracies[3], accuracies[6])
    assert [tuple(one.values()) for one in manifest["warnings"]] == notes
    assert notes[0][0] == "below_start"
    assert f"{accuracies[0]:.1%}" in notes[0][1]
