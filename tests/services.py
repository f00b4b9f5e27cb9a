"""The whole service for tests: `ddcal serve` as people start it, and tiny work for it."""

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil

from app.embedded.children import spawn, stop
from tests.waiting import until

START_SECONDS = 300
STOP_SECONDS = 60
COMMAND = (sys.executable, "-P", "-m", "ddcal.cli")
"""`ddcal`, wherever it is installed."""

TINY_DISTILL = {"images_per_class": 1, "iterations": 2, "width": 4, "depth": 1, "batch_real": 4}
TINY_PIPELINE = {
    "kind": "pipeline",
    # Tests share a service: none is to find another's results instead of its own.
    "reuse": False,
    "params": {
        "dataset": "digits",
        "distill": TINY_DISTILL,
        "train": {"width": 4, "depth": 1, "n_seeds": 2, "epochs": 2},
        "baselines": [{"source": "random"}],
        "calibrate": [
            {"method": "none"},
            {"method": "ts", "fit_on": "validation"},
            {"method": "mts", "fit_on": "distilled", "mask": {"ratio": 0.5}},
        ],
        "evaluate": {"n_bins": 15, "mts_ratios": [0.5]},
    },
}
# Each job starts a trainer, whose imports cost more than all that a tiny job computes: for tests
# that do not look at baselines, a pipeline of four jobs rather than six.
SHORT_PIPELINE = {
    **TINY_PIPELINE,
    "params": {**TINY_PIPELINE["params"], "baselines": []},
}


@dataclass(frozen=True)
class Service:
    """A running `ddcal serve`."""

    url: str
    process: subprocess.Popen[bytes]
    folder: Path

    def pids(self) -> list[int]:
        """Serve's own process and all below it."""
        root = psutil.Process(self.process.pid)
        return [root.pid, *(child.pid for child in root.children(recursive=True))]

    def child(self, words: str) -> int | None:
        """The pid of serve's child whose command line has these words; None while there is none."""
        for child in psutil.Process(self.process.pid).children():
            with contextlib.suppress(psutil.Error):
                if words in " ".join(child.cmdline()):
                    return child.pid
        return None


def kill_whole(service: Service) -> None:
    """`kill -9` of serve and of all its processes; gone when it returns."""
    family = [psutil.Process(pid) for pid in service.pids()]
    for process in family:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    service.process.wait()
    psutil.wait_procs(family, timeout=STOP_SECONDS)


def run_ddcal(*arguments: str | Path, url: str = "", folder: Path | None = None):
    """Run the command line to its end, as a process of its own."""
    return subprocess.run(
        [*COMMAND, *map(str, arguments)],
        cwd=folder,
        env={**os.environ, "DDCAL_URL": url},
        capture_output=True,
        text=True,
        timeout=900,  # a busy machine takes minutes for a whole pipeline
        check=False,
    )


@contextlib.contextmanager
def running_service(folder: Path, **settings: str) -> Iterator[Service]:
    """`ddcal serve` on a free port, stopped at the end if the test has not done so.

    Args:
        folder: the data folder.
        settings: DDCAL_ variables; DDCAL_NO_KEY="0" has it make a key.
    """
    log_path = folder / "logs" / "serve.log"
    address = folder / "address"
    address.unlink(missing_ok=True)  # of a service that was killed
    process = spawn(
        [*COMMAND, "serve", "--data-folder", folder, "--port", "0"],
        log_path=log_path,
        environment={**os.environ, "DDCAL_NO_KEY": "1", **settings},
    )

    def is_ready() -> bool:
        assert process.poll() is None, log_path.read_text()
        return address.exists()

    try:
        until(is_ready, seconds=START_SECONDS, log=log_path)
        yield Service(address.read_text(), process, folder)
    finally:
        stop(process, grace_seconds=STOP_SECONDS)
