"""The trainer process: its protocol, its ends, its log."""

import errno
import io
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ddcal_core.errors import CoreError, DivergedError, InvalidDataError
from ddcal_core.intake.job_channel import JobChannel, describe_failure
from ddcal_core.intake.job_messages import ProgressReport
from ddcal_core.progress import Progress
from tests.worker.small_jobs import distill_params, write_dataset
from worker.supervisor.programs import ONE_THREAD
from worker.trainer.trainer import Reporter


class Trainer:
    """A trainer process, started as the supervisor starts it and waited for until ready."""

    def __init__(self, folder):
        self.folder = folder
        self.process = subprocess.Popen(
            [sys.executable, "-m", "worker.trainer.trainer"],
            env={**os.environ, **ONE_THREAD},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert self.read() == {"type": "ready", "device": "cpu"}

    def read(self):
        """The next message."""
        return json.loads(self.process.stdout.readline())

    def send(self, kind, params, inputs):
        """Give it its one job."""
        job = {
            "kind": kind,
            "computation": kind,
            "job_id": "job_test",
            "params": params,
            "inputs": inputs,
            "work_folder": str(self.folder / "work"),
            "log_file": str(self.folder / "logs" / "log.txt"),
            "threads": 1,
        }
        self.process.stdin.write(json.dumps(job).encode() + b"\n")
        self.process.stdin.flush()

    def end(self):
        """All further messages, and the exit status."""
        messages = [json.loads(line) for line in self.process.stdout]
        return messages, self.process.wait(timeout=120)

    @property
    def log(self):
        """What it logged."""
        return (self.folder / "logs" / "log.txt").read_text()


@pytest.fixture
def trainer(tmp_path):
    """A warm trainer, killed at the end if it should still be there."""
    running = Trainer(tmp_path)
    with running.process:
        yield running
        running.process.kill()


def test_a_job_runs_from_ready_to_outputs(trainer, tmp_path):
    """Progress with the first and last step, one outputs message with real files, a clean exit."""
    params = distill_params(selection={"n_evaluations": 1, "epochs": 1})
    trainer.send("distill", params, {"dataset": write_dataset(tmp_path)})
    (*progress, outputs), status = trainer.end()
    assert status == 0
    # So small a set may guess, which is told as a note.
    assert {message["type"] for message in progress} <= {"progress", "note"}
    told = [message for message in progress if message.get("phase") == "distill"]
    # The start is scored before the first step.
    assert (told[0]["step"], told[-1]["step"]) == (0, 3)
    assert {message["steps"] for message in told} == {3}
    assert outputs["type"] == "outputs"
    (output,) = outputs["outputs"]
    assert output["resource"] == "distilled_set"
    types = {file["name"]: file["media_type"] for file in output["files"]}
    assert types["manifest.json"] == "application/json"
    assert types["preview.png"] == "image/png"
    for file in output["files"]:
        assert Path(file["path"]).stat().st_size > 0
    lines = trainer.log.splitlines()
    assert "start: distill, job job_test, request none, device cpu, 1 threads, torch 2." in lines[0]
    assert "phase: distill, 3 steps" in lines[1]
    assert "end: 1 results after" in lines[-1]
    assert "distilled_set.safetensors" in lines[-1]


def test_a_stop_ends_a_running_job(trainer, tmp_path):
    """SIGTERM in mid-job is answered by `stopped` and exit 0 at the next report."""
    trainer.send(
        "distill", distill_params(iterations=1_000_000), {"dataset": write_dataset(tmp_path)}
    )
    assert trainer.read()["type"] == "progress"
    trainer.process.send_signal(signal.SIGTERM)
    messages, status = trainer.end()
    assert (messages[-1], status) == ({"type": "stopped"}, 0)
    assert "stopped, as asked" in trainer.log


def test_a_refused_job_says_why(trainer, tmp_path):
    """A wish that cannot be met fails as the user's error; the log has the traceback."""
    trainer.send("distill", distill_params(depth=6), {"dataset": write_dataset(tmp_path)})
    (failed,), status = trainer.end()
    assert status == 1
    assert failed["type"] == "failed"
    assert failed["error"]["type"] == "user_error"
    assert "8 x 8 cannot be halved 6 times" in failed["error"]["message"]
    assert "Traceback" in trainer.log


def test_a_surprise_is_an_internal_error(trainer):
    """A job line that makes no sense does not show its insides to the user."""
    trainer.send("no such kind", {}, {})
    (failed,), status = trainer.end()
    assert (failed["error"]["type"], status) == ("internal", 1)
    assert "no such kind" not in failed["error"]["message"]
    assert "KeyError: 'no such kind'" in trainer.log


def test_a_waiting_trainer_goes_when_told(trainer):
    """SIGTERM before any job: exit 0, not a word."""
    trainer.process.send_signal(signal.SIGTERM)
    assert trainer.end() == ([], 0)


def test_a_waiting_trainer_goes_with_its_supervisor(trainer):
    """The channel closed before any job: exit 0, not a word."""
    trainer.process.stdin.close()
    assert trainer.end() == ([], 0)


class Stop:
    """A stop request set by hand."""

    is_set = False


def reports_of(progress):
    """What a reporter sends of a run of reports that come at once."""
    stream = io.BytesIO()
    reporter = Reporter(JobChannel(stream), Stop())
    for one in progress:
        reporter(one)
    reporter.flush()
    sent = [json.loads(line) for line in stream.getvalue().splitlines()]
    return [(message["phase"], message["step"]) for message in sent]


def test_reports_are_few_but_first_and_last_of_a_phase_come():
    """Two phases of a thousand fast steps send their ends, and five a second at most between."""
    started = time.monotonic()
    steps = [Progress(phase=phase, step=i, steps=1000) for phase in "ab" for i in range(1, 1001)]
    sent = reports_of(steps)
    most = 4 + 5 * (time.monotonic() - started)
    assert len(sent) <= most
    assert {("a", 1), ("a", 1000), ("b", 1), ("b", 1000)} <= set(sent)


def test_a_phase_cut_short_still_sends_its_last_report():
    """The report held back when the next phase begins, or the job ends, is not lost."""
    steps = [Progress(phase="a", step=i, steps=9) for i in (1, 2, 3)]
    sent = reports_of([*steps, Progress(phase="b", step=1, steps=9)])
    assert sent == [("a", 1), ("a", 3), ("b", 1)]


def test_numbers_that_json_cannot_write_are_refused():
    """An infinite value never reaches the supervisor as invalid JSON."""
    with pytest.raises(ValueError, match="not JSON compliant"):
        JobChannel(io.BytesIO()).send(
            ProgressReport(phase="a", step=1, steps=2, values={"loss": float("inf")})
        )


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (DivergedError(7, float("nan")), "nan_loss"),
        (InvalidDataError("wanted a, got b"), "invalid_data"),
        (CoreError("no"), "user_error"),
        (ValueError("no"), "user_error"),
        (MemoryError(), "host_oom"),
        (RuntimeError("[enforce] DefaultCPUAllocator: can't allocate memory: 8 bytes"), "host_oom"),
        (RuntimeError("CUDA out of memory. Tried to allocate 20 GiB"), "cuda_oom"),
        (OSError(errno.ENOSPC, "No space left on device"), "disk_full"),
        (OSError(errno.EACCES, "Permission denied"), "internal"),
        (RuntimeError("shape mismatch"), "internal"),
        (KeyError("secret"), "internal"),
    ],
)
def test_each_error_has_its_type(error, kind):
    """Errors are told apart for the user; a surprise keeps its text to the log."""
    described = describe_failure(error)
    assert described.type == kind
    assert described.message
    assert kind != "internal" or str(error) not in described.message


@pytest.mark.long
def test_a_trainer_imports_no_library_that_few_jobs_need():
    """Each start pays for what it imports, and every attempt at a job is a start."""
    code = (
        "import sys, worker.trainer.trainer; "
        "print(*{'torchvision', 'sklearn', 'scipy', 'torch._dynamo'} & set(sys.modules))"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True)
    assert ended.stdout == "\n"
