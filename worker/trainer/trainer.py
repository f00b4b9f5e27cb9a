"""The process that computes: one job in, its results out, then it ends.

It is started before there is a job and loads everything heavy first, so that a job starts at
once. It talks to its supervisor alone, in JSON lines (ddcal_core.intake.job_channel), and touches
neither database nor broker.
"""

import logging
import os
import select
import signal
import sys
import time
from types import FrameType
from typing import NoReturn

import torch

from ddcal_core.errors import StoppedError
from ddcal_core.intake.job_channel import JobChannel, answer_job, read_job, take_stdout
from ddcal_core.intake.job_messages import (
    JobLine,
    JobOutput,
    Note,
    OutputFile,
    Outputs,
    ProgressReport,
    Ready,
    Verdict,
)
from ddcal_core.progress import Progress
from worker.trainer.inputs import Task
from worker.trainer.kinds import COMPUTATIONS
from worker.trainer.outputs import MEDIA_TYPES, Output

SECONDS_BETWEEN_REPORTS = 0.2

_LOG = logging.getLogger("ddcal.trainer")


class StopRequest:
    """Whether SIGTERM has come; waiting for the job and for it at once, so that neither is lost."""

    def __init__(self) -> None:
        self.is_set = False
        # A handler alone would leave a blocking read asleep: Python starts the read again after it.
        self._wake_reader, self._wake_writer = os.pipe()
        os.set_blocking(self._wake_writer, False)
        signal.set_wakeup_fd(self._wake_writer)
        signal.signal(signal.SIGTERM, self._note)

    def _note(self, _signal_number: int, _frame: FrameType | None) -> None:
        self.is_set = True

    def wait_for_input(self, descriptor: int) -> bool:
        """Wait until there is something to read; False when the stop came first."""
        ready, _, _ = select.select([descriptor, self._wake_reader], [], [])
        return descriptor in ready


class Reporter:
    """Sends progress, five times a second at most, and stops the computation when asked to.

    The first and the last report of each phase are always sent.

    Args:
        channel: to the supervisor.
        stop: looked at on every report.
    """

    def __init__(self, channel: JobChannel, stop: StopRequest) -> None:
        self._channel = channel
        self._stop = stop
        self._phase: str | None = None
        self._sent_at = 0.0
        self._held_back: Progress | None = None

    def __call__(self, progress: Progress) -> None:
        """Take a report.

        Raises:
            StoppedError: the job has to stop.
        """
        if self._stop.is_set:
            raise StoppedError
        is_new_phase = progress.phase != self._phase
        if is_new_phase:
            self.flush()
            self._phase = progress.phase
            _LOG.info("phase: %s, %d steps", progress.phase, progress.steps)
        is_last = progress.step >= progress.steps
        is_due = time.monotonic() - self._sent_at >= SECONDS_BETWEEN_REPORTS
        self._held_back = progress
        if is_new_phase or is_last or is_due:
            self.flush()

    def note(self, code: str, message: str, *, step: int | None = None) -> None:
        """Send something that users should know of the run; the log has it too."""
        _LOG.info("%s: %s", code, message)
        self._channel.send(Note(code=code, message=message, step=step))

    def flush(self) -> None:
        """Send the report held back, if there is one."""
        if self._held_back is None:
            return
        progress, self._held_back = self._held_back, None
        self._sent_at = time.monotonic()
        self._channel.send(ProgressReport(**vars(progress)))


def main() -> int:
    """Say ready, take one job, compute it, say how it ended; give the exit status."""
    channel = take_stdout()
    stop = StopRequest()
    channel.send(Ready(device=_device().type))
    if not stop.wait_for_input(sys.stdin.fileno()):
        return 0
    job = read_job(sys.stdin.buffer)
    if job is None:
        return 0
    reporter = Reporter(channel, stop)

    def work() -> Verdict:
        # A stop that came meanwhile is not lost: the first report finds it.
        outputs = _compute(job, reporter)
        # Nothing may follow the last word.
        reporter.flush()
        return Outputs(outputs=tuple(map(_job_output, outputs)))

    return answer_job(job, channel, work)


def _job_output(output: Output) -> JobOutput:
    """Give a result as the supervisor is told of it."""
    files = tuple(
        OutputFile(name=path.name, path=path, media_type=MEDIA_TYPES[path.suffix])
        for path in output.files
    )
    return JobOutput(
        resource=output.resource,
        key=output.key,
        name=output.name,
        values=dict(output.values),
        files=files,
    )


def _compute(job: JobLine, reporter: Reporter) -> list[Output]:
    device = _prepare_torch(job.threads)
    started = time.monotonic()
    _LOG.info(
        "start: %s, job %s, request %s, device %s, %d threads, torch %s",
        job.computation,
        job.job_id,
        job.request_id or "none",
        torch.cuda.get_device_name() if device.type == "cuda" else "cpu",
        torch.get_num_threads(),
        torch.__version__,
    )
    folder = job.work_folder
    task = Task(
        job.params,
        job.inputs,
        folder,
        device,
        reporter,
        checkpoint=job.checkpoint,
        recipe=job.recipe,
        checkpoint_seconds=job.checkpoint_seconds,
        snapshots=job.snapshots,
        on_note=reporter.note,
        job_id=job.job_id,
    )
    outputs = COMPUTATIONS[job.computation](task)
    names = [file.relative_to(folder).as_posix() for output in outputs for file in output.files]
    _LOG.info(
        "end: %d results after %.1f s; files: %s",
        len(outputs),
        time.monotonic() - started,
        ", ".join(names),
    )
    return outputs


def _prepare_torch(n_threads: int) -> torch.device:
    torch.set_num_threads(max(1, n_threads))
    # The same bytes from the same recipe: no algorithm chosen by timing.
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.deterministic = True
    return _device()


def _device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def end(status: int) -> NoReturn:
    """End now: all has been said, and taking torch down takes seconds that the job would wait."""
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


if __name__ == "__main__":
    end(main())
