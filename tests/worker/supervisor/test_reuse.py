"""Results of a finished job that stand for those of another of the same recipe."""

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from textwrap import indent
from typing import Any

import pytest

from app.shared.engine import deletion, jobs
from app.shared.store.artifacts import ArtifactStore
from app.shared.store.catalog import (
    Result,
    artifacts_of_job,
    artifacts_of_resources,
    results_of_jobs,
)
from app.shared.store.job_records import Job, NewJob
from tests.damage import flip_a_bit
from tests.worker.supervised import DEAD, OWNER, SET_OUTPUT, Bench

# A set and a model as the kinds make them, as far as ids go.
TRAIN_OUTPUT = """
import gzip
given = job["inputs"]["distilled_set"]
values = {"dataset": "digits", "training_set": "distilled", "distilled_set_id": given["id"]}
(folder / "config.json").write_text(json.dumps(values))
(folder / "model.safetensors").write_bytes(b"weights")
(folder / "table.csv.gz").write_bytes(gzip.compress(given["id"].encode()))
say(type="outputs", outputs=[{"resource": "model", "values": values, "files": [
    {"name": name, "path": str(folder / name), "media_type": media_type} for name, media_type in
    (("config.json", "application/json"), ("model.safetensors", "application/x-safetensors"),
     ("table.csv.gz", "application/gzip"))]}])
"""
CHAIN_OUTPUTS = (
    "if job.get('kind') == 'distill':\n"
    + indent(SET_OUTPUT.replace("manifest.json", "distilled_set.safetensors"), "    ")
    + "else:\n"
    + indent(TRAIN_OUTPUT, "    ")
)


def results(made: Bench, resource: str, job: Job) -> list[Result]:
    """What a job has made."""
    with made.database.read() as connection:
        return results_of_jobs(connection, OWNER, resource, [job.id])


def files(made: Bench, result: Result) -> dict[str, bytes]:
    """A result's files, by name."""
    store = ArtifactStore(made.settings.artifact_folder)
    with made.database.read() as connection:
        rows = artifacts_of_resources(connection, OWNER, [result.id])
    return {row.name: store.path(row.job_id, row.sha256).read_bytes() for row in rows}


def delete(made: Bench, job: Job) -> None:
    """Delete a job as the API does."""
    with made.database.write() as connection:
        deletion.delete_job(connection, OWNER, job.id)
    ArtifactStore(made.settings.artifact_folder).delete_job(job.id)


def test_an_equal_job_takes_the_results_over(bench: Callable[..., Bench]) -> None:
    """No trainer is used; the job has results of its own and says whose they were."""
    made = bench(SET_OUTPUT)
    first, second = made.submit(), made.submit()

    assert made.supervisor().work() == 2

    assert len(made.started) == 2, "the one that worked, and the warm one that still waits"
    ended = made.job(second.id)
    assert (ended.state, ended.reused_from) == ("succeeded", first.id)
    assert made.job(first.id).reused_from is None
    (mine,), (theirs,) = (results(made, "distilled_set", one) for one in (second, first))
    assert mine.id != theirs.id
    assert mine.details == theirs.details
    assert files(made, mine) == files(made, theirs) == {"manifest.json": b"{}"}
    (note,) = made.events(second.id, "note")
    assert (note.data["code"], note.data["job_id"]) == ("reused", first.id)
    assert made.outcomes(second.id) == [("succeeded", f"took over the results of {first.id}")]
    assert list(made.settings.work_folder.iterdir()) == []


@pytest.mark.parametrize("deleted", [0, 1], ids=["the first", "the second"])
def test_either_can_be_deleted(bench: Callable[..., Bench], deleted: int) -> None:
    """The other keeps its rows and bytes; a third takes over from the one that is left."""
    made = bench(SET_OUTPUT)
    pair = [made.submit(), made.submit()]
    made.supervisor().work()

    delete(made, pair[deleted])

    left = pair[1 - deleted]
    (result,) = results(made, "distilled_set", left)
    assert files(made, result) == {"manifest.json": b"{}"}
    third = made.submit()
    made.supervisor().work()
    assert made.job(third.id).reused_from == left.id


@pytest.mark.parametrize(
    "changes",
    [
        {"reuse": False},
        {"params": {"dataset": "digits", "seed": 1}},
        {"params": {"dataset": "mnist"}},
    ],
    ids=["asked not to", "other params", "other data"],
)
def test_other_jobs_are_computed(bench: Callable[..., Bench], changes: dict[str, Any]) -> None:
    """And one that is asked to be."""
    made = bench(SET_OUTPUT)
    needed = made.settings.named_folder / "MNIST/raw/train-images-idx3-ubyte"
    needed.parent.mkdir(parents=True)
    needed.touch()
    made.submit()
    other = made.submit(**changes)

    made.supervisor().work()

    assert made.job(other.id).state == "succeeded"
    assert made.job(other.id).reused_from is None
    assert len(made.started) == 3


def test_another_owner_s_results_are_not_taken(bench: Callable[..., Bench]) -> None:
    """Recipes are compared within what one owner has."""
    made = bench(SET_OUTPUT)
    first = made.submit()
    made.supervisor().work()
    with made.database.write() as connection:
        of_another = jobs.jobs.update().where(jobs.jobs.c.id == first.id)
        connection.execute(of_another.values(owner_id="other"))
    second = made.submit()

    made.supervisor().work()

    assert made.job(second.id).reused_from is None


def test_a_job_that_came_to_nothing_is_not_taken(bench: Callable[..., Bench]) -> None:
    """Only one that has succeeded."""
    made = bench(DEAD, SET_OUTPUT)
    made.submit(max_attempts=1)
    second = made.submit()

    made.supervisor().work()

    assert made.job(second.id).state == "succeeded"
    assert made.job(second.id).reused_from is None


def test_results_whose_bytes_are_gone_are_not_taken(bench: Callable[..., Bench]) -> None:
    """The job is computed, and nothing half taken over stays in its rows."""
    made = bench(SET_OUTPUT)
    first = made.submit()
    made.supervisor().work()
    ArtifactStore(made.settings.artifact_folder).delete_job(first.id)
    second = made.submit()

    made.supervisor().work()

    assert made.job(second.id).reused_from is None
    (result,) = results(made, "distilled_set", second)
    assert files(made, result) == {"manifest.json": b"{}"}


def test_what_is_built_on_a_copy_names_the_copy(bench: Callable[..., Bench]) -> None:
    """A chain is reused link by link, and each link's ids are its own job's inputs."""
    made = bench(CHAIN_OUTPUTS)
    chains = []
    for _ in range(2):
        distill = made.submit()
        training_set = {"source": "distilled", "distilled_set": distill.id}
        train = made.submit(
            kind="train", params={"training_set": training_set}, needs=(distill.id,)
        )
        chains.append((distill, train))

    made.supervisor().work()

    sets, models = [], []
    for distill, train in chains:
        sets += results(made, "distilled_set", distill)
        models += results(made, "model", train)
    assert made.job(chains[1][1].id).reused_from == chains[0][1].id
    for distilled, model in zip(sets, models, strict=True):
        assert model.columns["distilled_set_id"] == distilled.id
        assert model.details["distilled_set_id"] == distilled.id
        config = files(made, model)["config.json"]
        assert json.loads(config)["distilled_set_id"] == distilled.id
        assert files(made, model)["model.safetensors"] == b"weights"
        table = gzip.decompress(files(made, model)["table.csv.gz"])
        assert table.decode() == distilled.id

    # Deleting the first chain takes nothing from the second.
    for job in reversed(chains[0]):
        delete(made, job)
    (model,) = results(made, "model", chains[1][1])
    assert model.columns["distilled_set_id"] == sets[1].id


def test_a_pipeline_hears_of_a_child_that_is_taken_over(bench: Callable[..., Bench]) -> None:
    """It has begun, and it ends."""
    made = bench(SET_OUTPUT)
    made.submit()
    made.supervisor().work()
    new = {"params": {"dataset": "digits"}, "kind": "distill", "queue": "gpu"}
    with made.database.write() as connection:
        pipeline = jobs.insert_composite(
            connection, OWNER, NewJob(kind="pipeline", params={}), [NewJob(**new)]
        )

    made.supervisor().work()

    assert made.job(pipeline.id).state == "succeeded"
    assert made.job(pipeline.id).started_at is not None
    told = [event.data["state"] for event in made.events(pipeline.id, "child")]
    assert told[-2:] == ["running", "succeeded"]


def path_of(made: Bench, job: Job, name: str) -> Path:
    """Where a job's file lies."""
    with made.database.read() as connection:
        (row,) = (row for row in artifacts_of_job(connection, OWNER, job.id) if row.name == name)
    return ArtifactStore(made.settings.artifact_folder).path(job.id, row.sha256)


@pytest.mark.parametrize("damage", [flip_a_bit, Path.unlink], ids=["a bit", "gone"])
def test_damaged_results_are_computed_anew(
    bench: Callable[..., Bench], damage: Callable[[Path], None]
) -> None:
    """None of their files is linked or copied; those after take over what was computed."""
    made = bench(CHAIN_OUTPUTS)
    first = made.submit()
    made.supervisor().work()
    damage(path_of(made, first, "distilled_set.safetensors"))
    second, third = made.submit(), made.submit()

    made.supervisor().work()

    assert made.job(second.id).reused_from is None
    assert made.job(third.id).reused_from == second.id
    for job in (second, third):
        (result,) = results(made, "distilled_set", job)
        assert files(made, result) == {"distilled_set.safetensors": b"{}"}


def test_one_damaged_file_of_several_keeps_the_others_from_being_taken(
    bench: Callable[..., Bench],
) -> None:
    """Results are taken over whole or not at all."""
    made = bench(CHAIN_OUTPUTS)
    distill = made.submit()
    params = {"training_set": {"source": "distilled", "distilled_set": distill.id}}
    first = made.submit(kind="train", params=params, needs=(distill.id,))
    made.supervisor().work()
    flip_a_bit(path_of(made, first, "table.csv.gz"))
    second = made.submit(kind="train", params=params, needs=(distill.id,), max_attempts=1)

    made.supervisor().work()

    assert (made.job(second.id).state, made.job(second.id).reused_from) == ("succeeded", None)
    (result,) = results(made, "model", second)
    assert gzip.decompress(files(made, result)["table.csv.gz"]).decode().startswith("set_")


def test_of_results_with_a_damaged_file_no_other_is_linked(bench: Callable[..., Bench]) -> None:
    """All are verified first: a job that then comes to nothing has none of them."""
    made = bench(CHAIN_OUTPUTS, CHAIN_OUTPUTS, CHAIN_OUTPUTS, DEAD)
    distill = made.submit()
    params = {"training_set": {"source": "distilled", "distilled_set": distill.id}}
    first = made.submit(kind="train", params=params, needs=(distill.id,))
    made.supervisor().work()
    flip_a_bit(path_of(made, first, "table.csv.gz"))
    second = made.submit(kind="train", params=params, needs=(distill.id,), max_attempts=1)

    made.supervisor().work()

    assert (made.job(first.id).state, made.job(second.id).state) == ("succeeded", "failed")
    assert list(made.settings.artifact_folder.glob(f"{second.id}/*")) == []


def test_the_next_finished_job_is_tried(bench: Callable[..., Bench]) -> None:
    """Where the newest is damaged, an older one of the same recipe is whole."""
    made = bench(SET_OUTPUT)
    older, newer = made.submit(), made.submit(reuse=False)
    made.supervisor().work()
    flip_a_bit(path_of(made, newer, "manifest.json"))
    third = made.submit()

    made.supervisor().work()

    assert made.job(third.id).reused_from == older.id


def test_what_an_earlier_attempt_has_left_damaged_is_replaced(bench: Callable[..., Bench]) -> None:
    """It had linked the file, or had put it, before its worker was lost."""
    made = bench(SET_OUTPUT)
    first = made.submit()
    made.supervisor().work()
    second = made.submit()
    left = ArtifactStore(made.settings.artifact_folder).path(
        second.id, path_of(made, first, "manifest.json").name
    )
    left.parent.mkdir()
    left.write_bytes(b"!!")

    made.supervisor().work()

    assert made.job(second.id).reused_from == first.id
    assert left.read_bytes() == b"{}"


def test_what_is_made_of_a_set_computed_anew_is_taken_over(bench: Callable[..., Bench]) -> None:
    """As in a pipeline asked for again: the same bytes come out, so the next recipe is the same."""
    made = bench(CHAIN_OUTPUTS)
    chains = []
    for _ in range(2):
        distill = made.submit()
        params = {"training_set": {"source": "distilled", "distilled_set": distill.id}}
        train = made.submit(kind="train", params=params, needs=(distill.id,))
        made.supervisor().work()
        chains.append((made.job(distill.id), made.job(train.id)))
        flip_a_bit(path_of(made, distill, "distilled_set.safetensors"))

    (_, first), (distill, second) = chains
    assert (distill.state, distill.reused_from) == ("succeeded", None)
    assert (second.state, second.reused_from) == ("succeeded", first.id)


def test_of_two_alike_at_once_the_second_takes_over_the_first_s_results(
    bench: Callable[..., Bench],
) -> None:
    """It gives its worker back while the first computes, and nothing is computed twice."""
    made = bench(SET_OUTPUT)
    first, second = made.submit(), made.submit()
    seen: list[str] = []

    def meanwhile() -> None:
        # Another worker, in the middle of the first one's run.
        if made.job(first.id).recipe is not None and not seen:
            seen.append("at work")
            made.supervisor().work()
            seen.append(made.job(second.id).state)

    made.supervisor(give_sign=meanwhile).work()

    assert seen == ["at work", "blocked"]
    assert made.job(second.id).reused_from == first.id
    assert made.job(second.id).attempt == 1
