"""What a supervisor gives to its processes and takes from them lies where it has to."""

import hashlib
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from app.shared.inputs.datasets import NewDataset, insert_dataset
from ddcal_core.intake.sandbox.confinement import facilities
from tests.worker.supervised import OWNER, SET_OUTPUT, Bench

LINKED = """
place = folder / "manifest.json"
place.symlink_to(folder.parents[1] / "secret")
"""
PIPED = """
place = folder / "manifest.json"
os.mkfifo(place)
"""
OUTSIDE = """
place = folder.parents[1] / "secret"
"""
GIVEN = """
say(type="outputs", outputs=[{"resource": "distilled_set", "values": {"dataset": "digits",
    "method": "dm", "images_per_class": 1}, "files": [{"name": "manifest.json",
    "path": str(place), "media_type": "application/json"}]}])
"""
# It does what a kind does, and looks where it has nothing to look for.
CURIOUS = """
import sys
from pathlib import Path
from ddcal_core.intake.job_channel import answer_job, read_job, take_stdout

def work():
    (job.work_folder / "own").write_text("x")
    Path(job.params["secret"]).read_text()

channel = take_stdout()
job = read_job(sys.stdin.buffer)
sys.exit(answer_job(job, channel, work))
"""


@pytest.mark.parametrize("mood", [LINKED, PIPED, OUTSIDE], ids=["link", "pipe", "outside"])
def test_a_result_that_is_not_the_run_s_own_is_refused(
    bench: Callable[..., Bench], mood: str
) -> None:
    """A file elsewhere, named as it is or by a link, or one that would be waited for."""
    made = bench(mood + GIVEN)
    made.settings.folder.mkdir(exist_ok=True)
    (made.settings.folder / "secret").write_text("secret")
    job = made.submit(max_attempts=1)

    made.supervisor().work()

    assert made.job(job.id).error == {
        "type": "trainer_crashed",
        "message": "the trainer was not understood: it names a file that is not its own",
    }
    assert not list(made.settings.artifact_folder.rglob("*"))


@pytest.mark.parametrize("upload", ["../secret", "link"])
def test_an_upload_that_lies_elsewhere_is_not_given_away(
    bench: Callable[..., Bench], upload: str
) -> None:
    """Whatever the row says, and wherever a link leads."""
    made = bench(SET_OUTPUT)
    made.settings.upload_folder.mkdir(parents=True)
    secret = made.settings.folder / "secret"
    secret.write_text("secret")
    (made.settings.upload_folder / "link").symlink_to(secret)
    job = made.submit(
        kind="intake", params={"upload": upload}, queue="intake", dataset="mine", max_attempts=1
    )
    with made.database.write() as connection:
        new = NewDataset(name="mine", sha256=hashlib.sha256(b"secret").hexdigest(), n_bytes=6)
        insert_dataset(connection, OWNER, new, job)

    made.supervisor("intake").work()

    error = made.job(job.id).error
    assert error is not None
    assert error["type"] == "worker_error"
    assert secret.exists()


@pytest.mark.skipif(not facilities().landlock_abi, reason="wanted a kernel with Landlock")
@pytest.mark.parametrize("is_confined", [True, False])
def test_each_job_s_process_confines_itself(tmp_path: Path, is_confined: bool) -> None:
    """Before it does anything for the job, unless that is switched off, which its log tells."""
    (tmp_path / "secret").write_text("secret")
    line = {
        "kind": "train",
        "job_id": "job_1",
        "params": {"secret": str(tmp_path / "secret")},
        "inputs": {},
        "work_folder": str(tmp_path / "work"),
        "log_file": str(tmp_path / "log"),
        "threads": 1,
        "is_confined": is_confined,
    }
    argv = [sys.executable, "-c", CURIOUS]
    given = json.dumps(line).encode()
    subprocess.run(argv, input=given, capture_output=True, timeout=120, check=False)

    log = (tmp_path / "log").read_text()
    assert ("PermissionError" in log) == is_confined
    assert ("not confined" in log) != is_confined
    assert (tmp_path / "work" / "own").exists()
