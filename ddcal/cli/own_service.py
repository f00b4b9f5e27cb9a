"""A service for one command alone: on a free port, with a data folder of its own."""

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from ddcal.cli.programs import start_serve
from ddcal.client import Client
from ddcal.errors import DdcalError, NoServiceError
from ddcal.local_service import kept_key, running_address

_START_SECONDS = 90
_STOP_SECONDS = 40


class OwnServiceError(DdcalError):
    """The service did not start, or ended too early."""


@contextlib.contextmanager
def own_service(data_folder: Path) -> Iterator[Client]:
    """`ddcal serve` on a free port as long as the context; gives its client.

    Raises:
        OwnServiceError: it does not start, or ends before the context does.
    """
    # The caller's own service, database or key have no part in this.
    environment = {k: v for k, v in os.environ.items() if not k.startswith("DDCAL_")}
    # On images of 8 × 8 pixels more threads wait for each other longer than they compute.
    environment["DDCAL_TRAINER_THREADS"] = "1"
    log_path = data_folder / "logs" / "serve.log"
    process = start_serve(data_folder, environment, log_path)
    try:
        deadline = time.monotonic() + _START_SECONDS
        while (address := running_address(data_folder)) is None:
            if process.poll() is not None or time.monotonic() > deadline:
                raise OwnServiceError(f"the service did not start:\n{log_path.read_text()}")
            time.sleep(0.05)
        with Client(address, api_key=kept_key(data_folder)) as client:
            yield client
    except NoServiceError as error:
        raise OwnServiceError(f"the service has ended:\n{log_path.read_text()}") from error
    finally:
        _stop(process)


def _stop(process: subprocess.Popen[bytes]) -> None:
    """Ask it to end, and its parts with it; then kill it, with which the kernel ends them."""
    process.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(_STOP_SECONDS)
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
