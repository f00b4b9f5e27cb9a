"""The parts that `ddcal serve` starts: command, environment, and the signs of life of each.

To have serve keep one part more, add its program to `service_programs`.
"""

import contextlib
import os
import secrets
import socket
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path

from app.embedded.broker import broker_argv, set_damaged_file_aside
from app.embedded.programs import STOP_SECONDS, Program
from app.embedded.signs import Answer, Heard, Pong, Sign, listening_at
from app.shared.processes import PYTHON
from app.shared.settings import PREFIX, Settings
from app.shared.signs_of_life import LOOPS, SIGNS_VARIABLE, sign_path
from app.shared.store.kinds import GPU_QUEUE, INTAKE_QUEUE, Queue

_KEY_VARIABLE = f"{PREFIX}API_KEY"


def workers_of(settings: Settings) -> dict[str, Queue]:
    """The names of serve's workers and the queue of each: no upload waits for a distillation.

    Each is a program of its own, so that one that hangs is noticed, and restarted, by itself.
    """
    others = [f"worker-{k}" for k in range(2, settings.workers + 1)]
    return {**dict.fromkeys(("worker", *others), GPU_QUEUE), "intake": INTAKE_QUEUE}


def child_environment(settings: Settings, *, url: str) -> dict[str, str]:
    """The environment of serve's children: ours without the key, and where the parts are."""
    ours = {name: value for name, value in os.environ.items() if name.upper() != _KEY_VARIABLE}
    return {
        **ours,
        "DDCAL_DATA_FOLDER": str(settings.folder),
        "DDCAL_REDIS_URL": url,
        "DDCAL_HOST": settings.host,
        "PYTHONUNBUFFERED": "1",
        # torch would leave its folder in /tmp, where nobody clears it away.
        "TORCHINDUCTOR_CACHE_DIR": str(settings.folder / "torch"),
    }


def api_environment(settings: Settings, environment: Mapping[str, str]) -> dict[str, str]:
    """The API's environment: it alone is given the key, where no list of processes shows it."""
    no_key = {f"{PREFIX}NO_KEY": str(settings.no_key)}
    if settings.api_key is None:
        return {**environment, **no_key}
    return {**environment, **no_key, _KEY_VARIABLE: settings.api_key.get_secret_value()}


def worker_argv(queues: str, settings: Settings) -> list[str]:
    """The command of a worker: one Celery process, whose every child runs one job at a time.

    Args:
        queues: the queues it serves, separated by commas. With that of uploads alone it has a child
            for each that may be checked at once, else one.
        settings: of the service.
    """
    n_children = settings.intakes if queues == INTAKE_QUEUE else 1
    name = f"{queues.replace(',', '-')}-{secrets.token_hex(4)}@%h"
    ours = ["-Q", queues, "-n", name, "-c", str(n_children)]
    return [*PYTHON, "-m", "worker.supervisor", *ours]


def broker_program(settings: Settings, environment: Mapping[str, str], path: Path) -> Program:
    """The broker, at a socket."""
    folder = settings.folder / "redis"
    return Program(
        "broker",
        tuple(broker_argv(folder, path)),
        environment,
        _log_path(settings, "broker"),
        signs=(Pong(path),),
        hang_seconds=settings.hang_seconds,
        mend=partial(set_damaged_file_aside, folder),
    )


def migrate_program(settings: Settings, environment: Mapping[str, str]) -> Program:
    """The migrations; who holds the folder of the database knows that no worker runs on it."""
    alone = () if settings.database_url else ("--alone",)
    argv = (*PYTHON, "-m", "app.server", "migrate", *alone)
    return Program("migrate", argv, environment, _log_path(settings, "migrate"))


@contextlib.contextmanager
def service_programs(
    settings: Settings, environment: Mapping[str, str], listener: socket.socket, broker: Path
) -> Iterator[list[Program]]:
    """The API and the workers, whose signs are listened for as long as the context.

    Args:
        settings: of the service.
        environment: of all children.
        listener: what the API accepts on.
        broker: the broker's socket; those of the workers' signs lie beside it.
    """
    with contextlib.ExitStack() as stack:
        workers = []
        for name, queue in workers_of(settings).items():
            prefix = str(broker.with_name(name))
            ears = [stack.enter_context(listening_at(sign_path(prefix, loop))) for loop in LOOPS]
            signs = tuple(
                Heard(f"signs of its {loop}", ear, Pong(broker))
                for loop, ear in zip(LOOPS, ears, strict=True)
            )
            heard = {**environment, SIGNS_VARIABLE: prefix}
            argv = tuple(worker_argv(queue, settings))
            workers.append(_worker_program(settings, heard, name, argv, signs))
        yield [_api_program(settings, environment, listener), *workers]


def _api_program(
    settings: Settings, environment: Mapping[str, str], listener: socket.socket
) -> Program:
    host, port = listener.getsockname()[:2]
    fd = listener.fileno()
    return Program(
        "api",
        (*PYTHON, "-m", "app.server", "api", "--fd", str(fd)),
        api_environment(settings, environment),
        _log_path(settings, "api"),
        pass_fds=(fd,),
        signs=(Answer(host, port),),
        hang_seconds=settings.hang_seconds,
    )


def _worker_program(
    settings: Settings,
    environment: Mapping[str, str],
    name: str,
    argv: tuple[str, ...],
    signs: tuple[Sign, ...],
) -> Program:
    return Program(
        name,
        argv,
        environment,
        _log_path(settings, name),
        stop_seconds=settings.stop_grace_seconds + STOP_SECONDS,
        signs=signs,
        # A supervisor may be silent for as long as its lease allows.
        hang_seconds=max(settings.hang_seconds, settings.lease_seconds),
    )


def _log_path(settings: Settings, name: str) -> Path:
    return settings.log_folder / f"service-{name}.log"
