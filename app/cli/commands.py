"""The command `ddcal`: run the service or parts of it, and use one over HTTP.

Everything that runs for long is started by name, as a process of its own: this module imports
neither the API nor the worker.
"""

import argparse
import json
import os
import signal
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, NoReturn, TypeAlias

import httpx
from pydantic import ValidationError

from app.cli.client import Client, DamagedDownloadError, ServiceError, connect
from app.cli.console import watch
from app.cli.demo import DemoError, demo
from app.embedded.broker import BrokerError
from app.embedded.programs import EmbeddedError
from app.embedded.serve import serve, worker_argv
from app.shared.settings import Settings

DEFAULT_URL = "http://127.0.0.1:8000"
TOLD_ERRORS = (ServiceError, DamagedDownloadError, EmbeddedError, BrokerError, DemoError, OSError)
UPLOAD_OPTIONS = ("resize", "colour", "test_fraction", "seed")
_INTERRUPTED = 130
_NOT_READ = 141  # as of a program that SIGPIPE ends

Arguments = argparse.Namespace


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; its exit status."""
    arguments = _parser().parse_args(argv)
    run: Callable[[Arguments], int] = arguments.run
    try:
        status = run(arguments)
        sys.stdout.flush()
    except KeyboardInterrupt:
        return _INTERRUPTED
    except BrokenPipeError:
        # Who read the output has seen enough; Python would complain once more at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _NOT_READ
    except httpx.TransportError as error:
        return _complain(
            f"no answer from {arguments.url}: {error}. Is the service up (ddcal serve)?"
        )
    except ValidationError as error:
        return _complain(_settings_problem(error))
    except TOLD_ERRORS as error:
        return _complain(str(error))
    return status


def _complain(text: str) -> int:
    print(f"ddcal: {text}", file=sys.stderr)
    return 1


def _settings_problem(error: ValidationError) -> str:
    lines = [
        " ".join(["DDCAL_" + str(part).upper() for part in one["loc"]] + [one["msg"]])
        for one in error.errors()
    ]
    return "the settings cannot be: " + "; ".join(lines)


# Parts of the service


def _serve(arguments: Arguments) -> int:
    given = {name: getattr(arguments, name) for name in ("data_folder", "host", "port")}
    settings = Settings(**{name: value for name, value in given.items() if value is not None})
    stopping = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: stopping.set())
    serve(settings, tell=lambda line: print(line, flush=True), stopping=stopping)
    return 0


def _api(arguments: Arguments) -> int:
    for name in ("host", "port"):
        value = getattr(arguments, name)
        if value is not None:
            os.environ[f"DDCAL_{name.upper()}"] = str(value)
    return _become([sys.executable, "-m", "app.server", "api"])


def _worker(arguments: Arguments) -> int:
    return _become(worker_argv(arguments.queue))


def _migrate(_: Arguments) -> int:
    return _become([sys.executable, "-m", "app.server", "migrate"])


def _housekeeping(arguments: Arguments) -> int:
    if arguments.data_folder is not None:
        os.environ["DDCAL_DATA_FOLDER"] = str(arguments.data_folder)
    dry_run = ["--dry-run"] if arguments.dry_run else []
    return _become([sys.executable, "-m", "app.cli.housekeeping", *dry_run])


def _check(arguments: Arguments) -> int:
    if arguments.data_folder is not None:
        os.environ["DDCAL_DATA_FOLDER"] = str(arguments.data_folder)
    return _become([sys.executable, "-m", "app.cli.check"])


def _become(argv: list[str]) -> NoReturn:
    """Replace this process, so that signals reach the program itself."""
    sys.stdout.flush()
    os.execv(argv[0], argv)  # noqa: S606 -- no shell is the point


# Using a service


def _connect(arguments: Arguments) -> AbstractContextManager[Client]:
    # The key comes from the environment alone: an option would stand in the list of processes.
    return connect(arguments.url, api_key=os.environ.get("DDCAL_API_KEY"))


def _submit(arguments: Arguments) -> int:
    is_stdin = arguments.file == Path("-")
    document = sys.stdin.buffer.read() if is_stdin else arguments.file.read_bytes()
    try:
        json.loads(document)
    except (ValueError, RecursionError) as error:
        return _complain(f"{arguments.file} is not JSON: {error}")
    # As it is: the service sees what a reader would let pass, such as a name given twice.
    with _connect(arguments) as client:
        return _told(client, client.submit(document), arguments)


def _retry(arguments: Arguments) -> int:
    with _connect(arguments) as client:
        return _told(client, client.retry(arguments.id), arguments)


def _told(client: Client, job: Mapping[str, Any], arguments: Arguments) -> int:
    """Print a new job's id, and watch it where that was asked for."""
    print(job["id"])
    if not arguments.watch:
        return 0
    return 0 if watch(client, job["id"])["state"] == "succeeded" else 1


def _watch(arguments: Arguments) -> int:
    with _connect(arguments) as client:
        return 0 if watch(client, arguments.id)["state"] == "succeeded" else 1


def _download(arguments: Arguments) -> int:
    folder = arguments.out or Path(arguments.id)
    with _connect(arguments) as client:
        written = client.download(arguments.id, folder)
    for path in written:
        print(path)
    return 0 if written else _complain(f"{arguments.id} has no files (yet)")


def _cancel(arguments: Arguments) -> int:
    with _connect(arguments) as client:
        print(client.cancel(arguments.id)["state"])
    return 0


def _jobs(arguments: Arguments) -> int:
    filters = {"state": arguments.state} if arguments.state else {}
    if not arguments.all:
        filters["parent"] = "none"
    with _connect(arguments) as client:
        for job in client.jobs(**filters):
            name = job["role"] or job["kind"]
            print(job["id"], job["created_at"], f"{job['state']:<10}", name, job["dataset"] or "")
    return 0


def _upload(arguments: Arguments) -> int:
    options = {
        name: value for name in UPLOAD_OPTIONS if (value := getattr(arguments, name)) is not None
    }
    if arguments.logits and options:
        return _complain(f"logits have no {', '.join(options)}: these are for image files")
    with _connect(arguments) as client:
        if arguments.logits:
            uploaded = client.upload_logits(arguments.name, arguments.file)
        else:
            uploaded = client.upload_dataset(arguments.name, arguments.file, **options)
        print(uploaded["name"], uploaded["state"])
        if not arguments.watch:
            return 0
        return 0 if watch(client, uploaded["job_id"])["state"] == "succeeded" else 1


def _demo(arguments: Arguments) -> int:
    # As Ctrl-C: the service is stopped on the way out.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    return demo(arguments.out)


# The command line


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="ddcal",
        description="Distil image data sets and calibrate the networks trained on them.",
        epilog="The service's key is read from DDCAL_API_KEY; other DDCAL_ variables: the README.",
    )
    parser.add_argument(
        "--url",
        default=os.environ.get("DDCAL_URL", DEFAULT_URL),
        help="the service (DDCAL_URL; %(default)s)",
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_services(commands)
    _add_uses(commands)
    return parser


Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"


def _add(
    commands: Commands, name: str, run: Callable[[Arguments], int], text: str
) -> argparse.ArgumentParser:
    command: argparse.ArgumentParser = commands.add_parser(name, help=text, description=text)
    command.set_defaults(run=run)
    return command


def _add_services(commands: Commands) -> None:
    command = _add(commands, "demo", _demo, "Run a pipeline on digits through the whole service.")
    command.add_argument("--out", type=Path, default=Path("ddcal-demo"), help="folder of results")

    command = _add(commands, "serve", _serve, "Run the whole service, with broker and worker.")
    command.add_argument("--data-folder", type=Path, help="where everything is kept (ddcal-data)")
    command.add_argument("--host", help="address to listen on (127.0.0.1)")
    command.add_argument("--port", type=int, help="port to listen on, 0 for a free one (8000)")

    command = _add(commands, "api", _api, "Run the HTTP API alone.")
    command.add_argument("--host", help="address to listen on (127.0.0.1)")
    command.add_argument("--port", type=int, help="port to listen on (8000)")

    command = _add(commands, "worker", _worker, "Run a worker alone, one job at a time.")
    command.add_argument("--queue", default="gpu,intake", help="queues to serve (%(default)s)")

    _add(commands, "migrate", _migrate, "Bring the database's tables up to date.")

    text = "Remove what nobody will read again, as the service does every hour; prints how much."
    command = _add(commands, "housekeeping", _housekeeping, text)
    command.add_argument("--data-folder", type=Path, help="of the service (ddcal-data)")
    command.add_argument("--dry-run", action="store_true", help="only print what would go")

    text = "Verify every stored file and the database; prints what is damaged, exit 1 if any is."
    command = _add(commands, "check", _check, text)
    command.add_argument("--data-folder", type=Path, help="of the service (ddcal-data)")


def _add_uses(commands: Commands) -> None:
    command = _add(commands, "submit", _submit, "Submit a job; prints its id.")
    command.add_argument("file", type=Path, metavar="FILE.json", help="the request, - for stdin")
    command.add_argument("--watch", action="store_true", help="and watch it")

    command = _add(commands, "watch", _watch, "Show a job's progress; exit 0 if it succeeds.")
    command.add_argument("id", metavar="ID")

    command = _add(commands, "download", _download, "Fetch all that a job has made.")
    command.add_argument("id", metavar="ID")
    command.add_argument("--out", type=Path, help="folder to write to (ID)")

    command = _add(commands, "cancel", _cancel, "Ask a job to stop.")
    command.add_argument("id", metavar="ID")

    text = "Submit once more what failed, was cancelled or expired; prints the new job's id."
    command = _add(commands, "retry", _retry, text)
    command.add_argument("id", metavar="ID")
    command.add_argument("--watch", action="store_true", help="and watch it")

    command = _add(commands, "jobs", _jobs, "List jobs, newest first.")
    command.add_argument("--state", help="only those in this state")
    command.add_argument("--all", action="store_true", help="the parts of pipelines too")

    command = _add(commands, "upload", _upload, "Upload a data set, or logits.")
    command.add_argument("name", metavar="NAME")
    command.add_argument(
        "file",
        type=Path,
        metavar="FILE",
        help=".npz, zip of images in class folders, or the folder itself",
    )
    command.add_argument("--logits", action="store_true", help="logits of a model made elsewhere")
    command.add_argument("--resize", type=int, metavar="SIDE", help="bring images to this side")
    command.add_argument("--colour", choices=["grey", "rgb"], help="bring images to this")
    command.add_argument(
        "--test-fraction", type=float, metavar="SHARE", help="without train and test folders (0.2)"
    )
    command.add_argument("--seed", type=int, help="of that split (0)")
    command.add_argument("--watch", action="store_true", help="and watch it being checked")


if __name__ == "__main__":
    sys.exit(main())
