"""The kind `experts`: one file, gone on with after a stop, never by two at once."""

import fcntl
import hashlib
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from ddcal_core.errors import InvalidDataError, StoppedError
from tests.worker.small_jobs import distill_params, file_of, run_kind, write_dataset
from worker.trainer.inputs import Task
from worker.trainer.kinds import COMPUTATIONS

EXPERTS = {"n_experts": 3, "epochs": 2, "width": 4, "depth": 2, "images_per_epoch": 20}
PARAMS = {"dataset": "small", "seed": 1, "experts": EXPERTS}
MTT = {
    "method": "mtt",
    "images_per_class": 2,
    "iterations": 3,
    "width": 4,
    "depth": 2,
    "synthetic_steps": 2,
    "expert_epochs": 1,
    "max_start_epoch": 2,
}


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    """A small data set as the supervisor hands it on."""
    return write_dataset(tmp_path_factory.mktemp("data"))


class Attempts:
    """Attempts of one job: scratch folders of their own, and one checkpoint."""

    def __init__(self, folder: Path, dataset) -> None:
        self.folder, self.dataset, self.n = folder, dataset, 0
        self.checkpoint = folder / "checkpoint" / "checkpoint.safetensors"
        self.checkpoint.parent.mkdir(parents=True)

    def run(self, *, stop_at=None, params=PARAMS, checkpoint=True):
        """One attempt, stopped after so many epochs; gives its output, or None, and its notes."""
        self.n += 1
        scratch, notes = self.folder / f"work-{self.n}", []
        scratch.mkdir()

        def on_progress(progress):
            if progress.phase == "experts" and progress.step == stop_at:
                raise StoppedError

        task = Task(
            params,
            {"dataset": self.dataset},
            scratch,
            torch.device("cpu"),
            on_progress,
            checkpoint=self.checkpoint if checkpoint else None,
            on_note=lambda code, _message, **_: notes.append(code),
        )
        try:
            (output,) = COMPUTATIONS["experts"](task)
        except StoppedError:
            return None, notes
        return output, notes


@pytest.fixture
def attempts(tmp_path, dataset):
    """A job that has not begun."""
    return Attempts(tmp_path / "job", dataset)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory, dataset):
    """What a job alone makes."""
    return Attempts(tmp_path_factory.mktemp("alone") / "job", dataset).run(checkpoint=False)[0]


def digest(output):
    """The sha256 of the experts' file."""
    return hashlib.sha256(file_of(output, "experts.safetensors").read_bytes()).hexdigest()


def test_it_is_what_its_values_say(undisturbed):
    """Snapshots of each expert, and what is kept in columns."""
    snapshots = load_file(file_of(undisturbed, "experts.safetensors"))["snapshots"]
    values = undisturbed.values
    assert snapshots.shape == (3, 3, values["n_parameters"])
    assert (values["dataset"], values["n_experts"], values["epochs"]) == ("small", 3, 2)
    assert values["split"]["seed"] == 1
    assert values["n_bytes"] == file_of(undisturbed, "experts.safetensors").stat().st_size


@pytest.mark.parametrize(
    ("stop_at", "notes"), [(1, []), (2, []), (3, ["resumed"]), (6, ["resumed"])]
)
def test_a_stopped_job_goes_on_with_whole_experts(attempts, undisturbed, stop_at, notes):
    """Stopped in any epoch, the file ends up the same, byte for byte."""
    assert attempts.run(stop_at=stop_at) == (None, [])
    output, told = attempts.run()
    assert [code for code in told if code == "resumed"] == notes
    assert digest(output) == digest(undisturbed)


def test_experts_of_another_recipe_are_not_gone_on_with(attempts, undisturbed):
    """Another seed's file is told of and written over."""
    attempts.run(params={**PARAMS, "seed": 2}, stop_at=5)
    output, notes = attempts.run()
    assert notes == ["checkpoint_unusable"]
    assert digest(output) == digest(undisturbed)


def test_a_file_in_use_is_left_alone(attempts, undisturbed):
    """Beside a lost run that still writes, its successor makes a file of its own."""
    attempts.run(stop_at=5)
    before = attempts.checkpoint.read_bytes()
    with attempts.checkpoint.open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        output, notes = attempts.run()
    assert notes == ["checkpoint_in_use"]
    assert attempts.checkpoint.read_bytes() == before
    assert digest(output) == digest(undisturbed)


def test_mtt_imitates_them_and_says_whom(tmp_path, dataset, undisturbed):
    """The set is made, and names the experts in its values."""
    path = str(file_of(undisturbed, "experts.safetensors"))
    experts_id = "exp_" + "e" * 26
    inputs = {"dataset": dataset, "experts": {"id": experts_id, "path": path}}
    params = {**distill_params(), "experts": experts_id, "distill": MTT}
    (output,) = run_kind("distill", params, inputs, tmp_path / "work")
    assert output.values["expert_set_id"] == experts_id


def test_experts_of_another_split_are_refused(tmp_path, dataset, undisturbed):
    """Whoever has seen other images has seen validation images of this one."""
    path = str(file_of(undisturbed, "experts.safetensors"))
    inputs = {"dataset": dataset, "experts": {"id": "exp_" + "e" * 26, "path": path}}
    params = {**distill_params(), "seed": 2, "experts": "exp_" + "e" * 26, "distill": MTT}
    with pytest.raises(InvalidDataError, match=r"wanted experts with split\.seed 2; got 1"):
        run_kind("distill", params, inputs, tmp_path / "work")
