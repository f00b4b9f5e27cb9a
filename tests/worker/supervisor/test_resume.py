"""kill -9 of a trainer at a random step, for each method: the service goes on to the same bytes."""

import json
import os
import random
import signal
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
import torch

from app.shared.engine import runs
from app.shared.engine.checkpoints import CheckpointStore
from app.shared.settings import Settings
from app.shared.store.artifacts import ArtifactStore
from app.shared.store.catalog import artifacts_of_job, record_artifact, record_result
from app.shared.store.database import open_database
from app.shared.store.job_records import Ending
from ddcal_core.data.dataset_facts import NAMED_DATASETS
from ddcal_core.distillation.checkpoints import read_checkpoint, write_checkpoint
from tests.damage import flip_a_bit
from tests.worker.small_jobs import run_kind
from tests.worker.supervised import OWNER, Bench
from worker.supervisor.trainer_process import NURSERY, TrainerProcess, start_trainer

SMALL = {"images_per_class": 1, "width": 4, "depth": 1, "init": "real", "mask": {"ratio": 0.25}}
SELECTION = {"n_evaluations": 2, "epochs": 1}
# Seconds of computing each, so that there is a middle.
METHODS = {
    "dm": {
        "iterations": 400,
        "batch_real": 8,
        "momentum": 0.9,
        "regulariser": {"name": "mixup"},
    },
    "dc": {"iterations": 100, "batch_real": 8, "regulariser": {"name": "cutmix"}},
    "dsa": {"iterations": 100, "batch_real": 8, "regulariser": {"name": "cutout"}},
    "mtt": {
        "iterations": 200,
        "synthetic_steps": 3,
        "expert_epochs": 1,
        "max_start_epoch": 3,
        "labels": "soft",
        "regulariser": {"name": "input_dropout"},
    },
    "rtp": {"iterations": 200, "inner_steps": 3, "batch_real": 4, "form": "pixels"},
}
EXPERTS = {"n_experts": 2, "epochs": 3, "width": 4, "depth": 1, "images_per_epoch": 100}
EXPERTS_PARAMS = {"dataset": "digits", "seed": 3, "experts": EXPERTS}
DATASET = {
    "name": "digits",
    "facts": NAMED_DATASETS["digits"].model_dump(mode="json"),
    "source": "named",
}


class RealBench(Bench):
    """A bench whose trainers are the real ones."""

    def _start(self, queue: str) -> TrainerProcess:
        self.started.append(start_trainer(queue))
        return self.started[-1]


@pytest.fixture(scope="module")
def bench(migrated_sqlite: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealBench]:
    """One supervisor's worth of everything, checkpoints as often as there can be."""
    folder = tmp_path_factory.mktemp("resume")
    (folder / "ddcal.sqlite").write_bytes(migrated_sqlite.read_bytes())
    settings = Settings(
        data_folder=folder, retry_seconds=0, heartbeat_seconds=0.2, lease_seconds=60,
        checkpoint_seconds=0, trainer_threads=1,
    )  # fmt: skip
    made = RealBench(open_database(settings), settings, [])
    made.worker = made.supervisor()
    yield made
    made.worker.close()
    for trainer in made.started:
        trainer.end(0)
    NURSERY.close()
    made.database.close()


@dataclass(frozen=True)
class Experts:
    """What mtt imitates: a result, and its file."""

    id: str
    path: Path


@pytest.fixture(scope="module")
def experts(bench: RealBench, tmp_path_factory: pytest.TempPathFactory) -> Experts:
    """A set of experts in the database, made in this process."""
    folder = tmp_path_factory.mktemp("experts") / "work"
    (output,) = run_kind("experts", EXPERTS_PARAMS, {"dataset": DATASET}, folder)
    (path,) = output.files
    job = bench.submit(kind="experts", params=EXPERTS_PARAMS)
    stored = ArtifactStore(bench.settings.artifact_folder).put(job.id, path)
    with bench.database.write() as connection:
        run = runs.claim_next(connection, queue="gpu", worker="w", lease_seconds=60)
        assert run is not None
        experts_id = record_result(connection, run, "expert_set", output.values)
        record_artifact(
            connection, run, experts_id, name=path.name, media_type="a/b", sha256=stored.sha256,
            n_bytes=stored.n_bytes,
        )  # fmt: skip
        runs.succeed(connection, run, Ending())
    return Experts(experts_id, path)


def params_of(method: str, experts: Experts) -> dict[str, object]:
    """A distillation that takes a second or two."""
    spec = {"method": method, **SMALL, "selection": SELECTION, **METHODS[method]}
    own = {"experts": experts.id} if method == "mtt" else {}
    return {"dataset": "digits", "seed": 3, "distill": spec, **own}


def digests(bench: RealBench, job_id: str) -> dict[str, str]:
    """sha256 of what is learned, by file."""
    with bench.database.read() as connection:
        files = artifacts_of_job(connection, OWNER, job_id)
    # The manifest tells seconds, which are never the same.
    return {file.name: file.sha256 for file in files if file.name != "manifest.json"}


def record_of(path: Path) -> dict[str, Any]:
    """What a checkpoint says of itself, in one read: the next may take its place meanwhile."""
    written = path.read_bytes()
    header = json.loads(written[8 : 8 + int.from_bytes(written[:8], "little")])
    record: dict[str, Any] = json.loads(header["__metadata__"]["checkpoint"])
    return record


def step_of(path: Path) -> int:
    """How far a checkpoint is; 0 before there is one."""
    try:
        return int(record_of(path)["step"])
    except FileNotFoundError:
        return 0


def kill_at(bench: RealBench, job_id: str, step: int, before_kill: Callable[[Path], None]) -> int:
    """Wait for a job's checkpoint of a step or a later one, then kill -9 its trainer."""
    path = CheckpointStore(bench.settings.checkpoint_folder).open(job_id)
    deadline = time.monotonic() + 240
    while step_of(path) < step:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    log = f"{job_id}.log"
    for trainer in bench.started:
        if trainer.is_alive() and is_writing_to(trainer.pid, log):
            os.kill(trainer.pid, signal.SIGSTOP)
            reached = step_of(path)
            before_kill(path)
            os.kill(trainer.pid, signal.SIGKILL)
            return reached
    raise AssertionError("the job had ended before it could be killed")


def is_writing_to(pid: int, name: str) -> bool:
    """Has a process a file of this name open?"""
    links = Path(f"/proc/{pid}/fd").iterdir()
    return any(os.path.basename(os.readlink(link)) == name for link in links)  # noqa: PTH115, PTH119


def nothing(_path: Path) -> None:
    """Leave a checkpoint as it is."""


def run_and_kill(
    bench: RealBench,
    method: str,
    experts: Experts,
    *,
    before_kill: Callable[[Path], None] = nothing,
) -> str:
    """Run a job whose trainer is killed once at a random step."""
    # reuse off: nothing of another test's job is to help it.
    job = bench.submit(params=params_of(method, experts), reuse=False)
    step = random.randrange(1, METHODS[method]["iterations"] * 2 // 3)
    reached: list[int] = []

    def kill() -> None:
        reached.append(kill_at(bench, job.id, step, before_kill))

    killer = threading.Thread(target=kill)
    killer.start()
    # Here, not in the thread: trainers die with the thread that has started them.
    bench.worker.work()
    killer.join()
    assert reached, "the job had ended before it could be killed"
    assert bench.job(job.id).state == "succeeded", f"killed after step {reached}"
    return job.id


@pytest.fixture(scope="module")
def undisturbed(
    experts: Experts, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], dict[str, str]]:
    """What a method makes when it is left alone, in this process: name and sha256 of each file."""

    @cache
    def make(method: str) -> dict[str, str]:
        n_threads = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            imitated = {"id": experts.id, "path": str(experts.path)} if method == "mtt" else None
            inputs = {"dataset": DATASET, "experts": imitated}
            folder = tmp_path_factory.mktemp(method) / "work"
            (output,) = run_kind("distill", params_of(method, experts), inputs, folder)
        finally:
            torch.set_num_threads(n_threads)
        digests = {path.name: sha256(path.read_bytes()).hexdigest() for path in output.files}
        del digests["manifest.json"]
        return digests

    return make


@pytest.mark.parametrize("method", METHODS)
def test_a_killed_run_ends_in_the_same_bytes(
    bench: RealBench,
    undisturbed: Callable[[str], dict[str, str]],
    experts: Experts,
    method: str,
) -> None:
    """Gone on with, not begun anew: the event says so; every file of the set is the same."""
    job_id = run_and_kill(bench, method, experts)

    assert [outcome for outcome, _ in bench.outcomes(job_id)] == ["failed", "succeeded"]
    codes = [note.data["code"] for note in bench.events(job_id, "note")]
    assert "resumed" in codes
    assert "checkpoint_unusable" not in codes
    assert digests(bench, job_id) == undisturbed(method)
    assert not (bench.settings.checkpoint_folder / job_id).exists()


def test_without_the_momentum_it_would_not(
    bench: RealBench, undisturbed: Callable[[str], dict[str, str]], experts: Experts
) -> None:
    """The test above can fail: a checkpoint that lacks one buffer ends in other bytes."""

    def lose_momentum(path: Path) -> None:
        recipe = record_of(path)["recipe"]
        checkpoint = read_checkpoint(path, recipe)
        checkpoint.state["images.momentum"].zero_()
        write_checkpoint(path, checkpoint, recipe)

    job_id = run_and_kill(bench, "dm", experts, before_kill=lose_momentum)

    assert digests(bench, job_id).keys() == undisturbed("dm").keys()
    assert digests(bench, job_id) != undisturbed("dm")


def cut_short(path: Path) -> None:
    """The last bytes are gone."""
    path.write_bytes(path.read_bytes()[:-7])


@pytest.mark.parametrize("damage", [cut_short, flip_a_bit])
def test_a_damaged_checkpoint_is_told_of_and_not_used(
    bench: RealBench,
    undisturbed: Callable[[str], dict[str, str]],
    experts: Experts,
    damage: Callable[[Path], None],
) -> None:
    """The run starts from the beginning, and still ends in the same bytes."""
    job_id = run_and_kill(bench, "dm", experts, before_kill=damage)

    (note,) = bench.events(job_id, "note")
    assert note.data["code"] == "checkpoint_unusable"
    assert digests(bench, job_id) == undisturbed("dm")
