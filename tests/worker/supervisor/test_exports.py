"""Exports: a process of their own each, their file one more of the result."""

from collections.abc import Callable

from app.shared.engine.exports import find_or_ask_for_export
from app.shared.store.catalog import artifacts_of_resources, results_of_jobs
from app.shared.store.job_records import Job
from tests.worker.supervised import BROKEN, OWNER, SET_OUTPUT, Bench

WAITS = "sys.stdin.readline()\n"
EXPORTED = """
(folder / "distilled_set.dc.pt").write_text("a file")
say(type="outputs", outputs=[{"resource": "export", "values": {}, "files": [{
    "name": "distilled_set.dc.pt", "path": str(folder / "distilled_set.dc.pt"),
    "media_type": "application/octet-stream"}]}])
"""


def asked(made: Bench) -> tuple[str, Job]:
    """A distilled set, and the job of a format of it."""
    maker = made.submit()
    made.supervisor().work()
    with made.database.write() as connection:
        (result,) = results_of_jobs(connection, OWNER, "distilled_set", [maker.id])
        params = {
            "resource": "distilled_set", "result": result.id, "format": "card", "reports": [],
            "declared": {},
        }  # fmt: skip
        export, _ = find_or_ask_for_export(
            connection, OWNER, result, params, settings=made.settings
        )
    return result.id, export


def test_its_file_is_one_more_of_the_result(bench: Callable[..., Bench]) -> None:
    """The set's own job made the others; the one that waits for an upload still waits."""
    # Trainers of the first supervisor: one for its job, one that waits after it.
    made = bench(SET_OUTPUT, WAITS, WAITS, EXPORTED, WAITS)
    result_id, export = asked(made)
    made.supervisor("intake").work()
    assert made.job(export.id).state == "succeeded"
    assert made.job(export.id).recipe is None
    with made.database.read() as connection:
        files = artifacts_of_resources(connection, OWNER, [result_id])
    assert {(file.name, file.job_id == export.id) for file in files} == {
        ("manifest.json", False),
        ("distilled_set.dc.pt", True),
    }
    assert len(made.started) == 4


def test_one_that_fails_says_why_and_leaves_nothing(bench: Callable[..., Bench]) -> None:
    """As any job does."""
    made = bench(SET_OUTPUT, WAITS, WAITS, BROKEN, WAITS)
    result_id, export = asked(made)
    made.supervisor("intake").work()
    failed = made.job(export.id)
    assert (failed.state, (failed.error or {})["type"]) == ("failed", "nan_loss")
    with made.database.read() as connection:
        files = artifacts_of_resources(connection, OWNER, [result_id])
    assert [file.name for file in files] == ["manifest.json"]
    assert not (made.settings.artifact_folder / export.id).exists()
