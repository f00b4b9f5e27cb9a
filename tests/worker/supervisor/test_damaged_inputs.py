"""No trainer is given a file that is damaged: its job fails by name."""

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from app.shared.engine import runs
from app.shared.inputs.datasets import NewDataset, accept_dataset, find_dataset, insert_dataset
from app.shared.store.artifacts import ArtifactStore
from app.shared.store.catalog import record_artifact, record_result
from app.shared.store.job_queries import children_by_parent
from app.shared.store.job_records import Ending, Job, new_id
from app.submission.requests import PipelineRequest
from app.submission.submit import retry, submit
from ddcal_core.data.dataset_facts import NAMED_DATASETS
from tests.damage import flip_a_bit
from tests.waiting import until
from tests.worker.supervised import OWNER, AdvancedClock, Bench
from tests.worker.supervisor.test_reuse import CHAIN_OUTPUTS

# Tells that it was given its job, and ends.
TELL_TALE = '(folder / "given").touch()\n' + (
    'say(type="failed", error={"type": "given", "message": "it was given the job"})\n'
)
# The first training flips a bit of the set that it is given, and dies; later ones make a model.
HURTS_ITS_INPUT = """
marker = folder.parents[1] / "hurt"
if job["kind"] == "train" and not marker.exists():
    marker.touch()
    path = pathlib.Path(job["inputs"]["distilled_set"]["path"])
    content = path.read_bytes()
    path.write_bytes(bytes([content[0] ^ 1]) + content[1:])
    os.kill(os.getpid(), signal.SIGKILL)
"""
PARTS = ("train.safetensors", "test.safetensors")


class Made:
    """A service in which jobs have made one result each, with files of their own bytes."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self.paths: dict[str, Path] = {}
        bench.settings.folder.mkdir(parents=True, exist_ok=True)

    def result(self, kind: str, resource: str, values: Mapping[str, Any], *names: str) -> str:
        """A result with files of these names; gives its id."""
        self.bench.submit(kind=kind, params={"dataset": "digits"})
        with self.bench.database.write() as connection:
            run = runs.claim_next(connection, queue="gpu", worker="w", lease_seconds=60)
            assert run is not None
            result_id = record_result(connection, run, resource, values)
            self._put(connection, run, result_id, names)
            runs.succeed(connection, run, Ending())
        return result_id

    def upload(self, name: str, content: str, facts: Mapping[str, Any], *names: str) -> None:
        """An upload that was found good."""
        params = {"upload": "u.npz", "content": content}
        intake = self.bench.submit(kind="intake", params=params, queue="intake", dataset=name)
        with self.bench.database.write() as connection:
            new = NewDataset(name=name, content=content, sha256="0" * 64, n_bytes=1)
            insert_dataset(connection, OWNER, new, intake)
            run = runs.claim_next(connection, queue="intake", worker="w", lease_seconds=60)
            assert run is not None
            self._put(connection, run, accept_dataset(connection, run, facts), names)
            runs.succeed(connection, run, Ending())

    def _put(self, connection: Any, run: Job, result_id: str, names: tuple[str, ...]) -> None:
        store = ArtifactStore(self.bench.settings.artifact_folder)
        for name in names:
            source = self.bench.settings.folder / name
            source.write_bytes(name.encode() * 1000)
            stored = store.put(run.id, source)
            record_artifact(
                connection, run, result_id, name=name, media_type="a/b", sha256=stored.sha256,
                n_bytes=stored.n_bytes,
            )  # fmt: skip
            self.paths[name] = store.path(run.id, stored.sha256)


def experts(made: Made) -> dict[str, Any]:
    """Params of a job that reads a data set."""
    return {"dataset": "mine"}


def distill(made: Made) -> dict[str, Any]:
    """One that reads experts as well."""
    values = {"dataset": "mine", "n_experts": 1}
    expert_set = made.result("experts", "expert_set", values, "experts.safetensors")
    return {"dataset": "mine", "experts": expert_set}


def train(made: Made) -> dict[str, Any]:
    """One that reads a distilled set."""
    values = {"dataset": "mine", "method": "dm", "images_per_class": 1}
    set_id = made.result(
        "distill", "distilled_set", values, "distilled_set.safetensors", "manifest.json"
    )
    return {"training_set": {"source": "distilled", "distilled_set": set_id}}


def calibrate(made: Made) -> dict[str, Any]:
    """One that reads a model and its data set."""
    values = {"dataset": "mine", "training_set": "random"}
    names = ("model.safetensors", "input_space.safetensors", "config.json")
    return {"models": [made.result("train", "model", values, *names)]}


def evaluate(made: Made) -> dict[str, Any]:
    """One that reads a calibration as well, and test images."""
    (model_id,) = calibrate(made)["models"]
    values = {"model_id": model_id, "method": "vs", "fit_on": "validation", "status": "ok"}
    return {"calibrations": [made.result("calibrate", "calibration", values, "scaling.json")]}


def calibrate_logits(made: Made) -> dict[str, Any]:
    """One that reads uploaded logits."""
    facts = {
        "class_names": ["a", "b"],
        "fit_class_counts": [2, 2],
        "test_class_counts": [2, 2],
        "dtype": "float32",
    }
    made.upload("theirs", "logits", facts, "fit.safetensors", "test.safetensors")
    return {"logits": "theirs"}


@pytest.mark.parametrize(
    ("params_of", "names", "unread"),
    [
        (experts, ["train.safetensors"], ["test.safetensors"]),
        (distill, ["train.safetensors", "experts.safetensors"], ["test.safetensors"]),
        (train, ["distilled_set.safetensors"], ["manifest.json", "train.safetensors"]),
        (calibrate, ["model.safetensors", "input_space.safetensors", "train.safetensors"], []),
        (evaluate, ["scaling.json", "model.safetensors", *PARTS], ["config.json"]),
        (calibrate_logits, ["fit.safetensors", "test.safetensors"], []),
    ],
)
def test_a_job_fails_by_each_damaged_file_that_it_reads(
    bench: Callable[..., Bench],
    params_of: Callable[[Made], dict[str, Any]],
    names: list[str],
    unread: list[str],
) -> None:
    """At once, naming result and file; what it does not read does not matter."""
    bench_of_one = bench(TELL_TALE)
    made = Made(bench_of_one)
    if params_of is not calibrate_logits:
        made.upload("mine", "images", NAMED_DATASETS["mnist"].model_dump(mode="json"), *PARTS)
    kind, params = params_of.__name__.partition("_")[0], params_of(made)

    def run() -> dict[str, Any]:
        job = bench_of_one.submit(kind=kind, params=params)
        bench_of_one.supervisor().work()
        assert len(bench_of_one.outcomes(job.id)) == 1
        error = bench_of_one.job(job.id).error
        assert error is not None
        return error

    for name in unread:
        flip_a_bit(made.paths[name])
    for name in names:
        flip_a_bit(made.paths[name])
        error = run()
        flip_a_bit(made.paths[name])
        assert error["type"] == "damaged_input"
        assert error["message"].startswith(f"{name} of ")
        assert " is damaged: its bytes have sha256 " in error["message"]
        assert " again" in error["message"]
    assert run()["type"] == "given", "whole again, it is given to a trainer"


def test_a_damaged_upload_is_not_checked(bench: Callable[..., Bench]) -> None:
    """It is rejected by name, whatever a decoder would make of it."""
    made = bench(TELL_TALE)
    made.settings.upload_folder.mkdir(parents=True)
    path = made.settings.upload_folder / "u.npz"
    path.write_bytes(b"an upload")
    job = made.submit(kind="intake", params={"upload": "u.npz"}, queue="intake", dataset="mine")
    with made.database.write() as connection:
        new = NewDataset(name="mine", sha256=hashlib.sha256(b"an upload").hexdigest(), n_bytes=9)
        insert_dataset(connection, OWNER, new, job)
    flip_a_bit(path)

    made.supervisor("intake").work()

    error = made.job(job.id).error
    assert error is not None
    assert error["type"] == "damaged_input"
    with made.database.read() as connection:
        dataset = find_dataset(connection, OWNER, "mine", made.settings)
    assert dataset.state == "rejected"
    assert dataset.problem is not None
    assert "the upload is damaged" in dataset.problem["detail"]


def test_the_lease_is_prolonged_while_a_large_file_is_verified(
    bench: Callable[..., Bench], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A beat may come after each MiB."""
    made = Made(bench(TELL_TALE))
    made.upload("mine", "images", NAMED_DATASETS["mnist"].model_dump(mode="json"), *PARTS)
    path = made.paths[PARTS[0]]
    path.write_bytes(bytes(20 << 20))
    beats = []
    beat = runs.beat

    def count(*args: Any, **options: Any) -> str | None:
        beats.append(1)
        return beat(*args, **options)

    monkeypatch.setattr(runs, "beat", count)
    clock = AdvancedClock()

    def hasty() -> float:
        clock.ahead += 1  # more than a heartbeat whenever it is asked
        return clock()

    supervisor = made.bench.supervisor(clock=hasty)
    until(made.bench.started[0].has_spoken)  # or it would be waited for, with beats
    job = made.bench.submit(kind="experts", params={"dataset": "mine"})
    supervisor.work()

    error = made.bench.job(job.id).error
    assert error is not None
    assert error["type"] == "damaged_input"
    assert len(beats) >= 20


def test_a_pipeline_that_failed_by_a_damaged_file_is_retried_with_a_new_one(
    bench: Callable[..., Bench],
) -> None:
    """A set is damaged while a network is trained on it: the next attempt is not given it."""
    made = bench(HURTS_ITS_INPUT + CHAIN_OUTPUTS)
    params = {
        "dataset": "digits",
        "distill": {"images_per_class": 1},
        "baselines": [],
        "calibrate": [{"method": "none"}],
    }
    request = PipelineRequest.model_validate({"kind": "pipeline", "params": params})
    with made.database.write() as connection:
        first = submit(connection, made.settings, OWNER, request, job_id=new_id("job"))
    made.supervisor().work()
    children = children_of(made, first)
    assert [made.job(first.id).state, children["distill"].state] == ["failed", "succeeded"]
    assert [outcome for outcome, _ in made.outcomes(children["train"].id)] == ["failed"] * 2
    error = children["train"].error
    assert error is not None
    assert error["type"] == "damaged_input"

    with made.database.write() as connection:
        again = retry(connection, made.settings, OWNER, first.id, job_id=new_id("job"))
    made.supervisor().work()

    anew = children_of(made, again)
    assert (anew["distill"].state, anew["distill"].reused_from) == ("succeeded", None)
    assert anew["train"].state == "succeeded"


def children_of(made: Bench, pipeline: Job) -> dict[str, Job]:
    """The children of a pipeline, by kind."""
    with made.database.read() as connection:
        found = children_by_parent(connection, OWNER, [pipeline.id])[pipeline.id]
    return {child.kind: child for child in found}
