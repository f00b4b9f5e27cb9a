"""The command `ddcal`: run the service or parts of it, and use one over HTTP.

Everything that runs for long is started by name, as a process of its own: this module imports
neither the API nor the worker.
"""

import argparse
import json
import os
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, TypeAlias

import httpx

from app.embedded.broker import BrokerError
from app.embedded.local_service import kept_key
from app.embedded.programs import EmbeddedError
from app.shared.settings import SettingsError
from app.shared.startup import INVALID_SETTINGS, unknown_variables
from ddcal.cli.console import warn, watch
from ddcal.cli.demo import DemoError, demo
from ddcal.cli.parts import (
    become_api,
    become_check,
    become_housekeeping,
    become_migrations,
    become_worker,
    run_serve,
)
from ddcal.client import Client, DamagedDownloadError, ServiceError, connect
from ddcal.finding import KEY_VARIABLE, data_folder, service_url

TOLD_ERRORS = (DamagedDownloadError, EmbeddedError, BrokerError, DemoError, OSError)
KEY_HINT = (
    "\nThe command line takes the key from DDCAL_API_KEY (for DDCAL_URL alone, where that is set), "
    "or from the data folder of a `ddcal serve` at this URL: DDCAL_DATA_FOLDER, ddcal-data."
)
UPLOAD_OPTIONS = ("resize", "colour", "test_fraction", "seed")
_INTERRUPTED = 130
_NOT_READ = 141  # as of a program that SIGPIPE ends

Arguments = argparse.Namespace


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; its exit status."""
    arguments = _parser().parse_args(argv)
    run: Callable[[Arguments], int] = arguments.run
    for line in unknown_variables(os.environ):
        warn(line)
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
    except SettingsError as error:
        _complain(str(error))
        return INVALID_SETTINGS
    except httpx.InvalidURL as error:
        return _complain(f"the service's URL cannot be read: {error}")
    except ServiceError as error:
        hint = KEY_HINT if error.status == httpx.codes.UNAUTHORIZED else ""
        return _complain(f"{error}{hint}")
    except TOLD_ERRORS as error:
        return _complain(str(error))
    return status


def _complain(text: str) -> int:
    print(f"ddcal: {text}", file=sys.stderr)
    return 1


# Using a service


def _connect(arguments: Arguments) -> AbstractContextManager[Client]:
    arguments.url = arguments.url or service_url(os.environ)
    # No option for the key: it would stand in the list of processes.
    return connect(arguments.url)


def _key(arguments: Arguments) -> int:
    folder = arguments.data_folder or data_folder(os.environ)
    key = (None if arguments.data_folder else os.environ.get(KEY_VARIABLE)) or kept_key(folder)
    if key is None:
        return _complain(
            f"no key in {folder}: `ddcal serve` makes one there, unless DDCAL_API_KEY or --no-key "
            "is given; for another folder set DDCAL_DATA_FOLDER, or use --data-folder"
        )
    print(key)
    return 0


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
    if arguments.values and not arguments.logits:
        return _complain("--values says what logits are: use it with --logits")
    with _connect(arguments) as client:
        if arguments.logits:
            uploaded = client.upload_logits(arguments.name, arguments.file, arguments.values)
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
        epilog="The service's key is that of DDCAL_API_KEY, or the one that `ddcal serve` keeps "
        "in its data folder (DDCAL_DATA_FOLDER, ddcal-data). All variables: docs/settings.md.",
    )
    parser.add_argument(
        "--url",
        help="the service (DDCAL_URL; else the one that runs on the data folder)",
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

    command = _add(commands, "serve", run_serve, "Run the whole service, with broker and worker.")
    command.add_argument("--data-folder", type=Path, help="where everything is kept (ddcal-data)")
    command.add_argument("--host", help="address to listen on (127.0.0.1)")
    command.add_argument("--port", type=int, help="port to listen on, 0 for a free one (8000)")
    _add_no_key(command)

    command = _add(commands, "api", become_api, "Run the HTTP API alone.")
    command.add_argument("--host", help="address to listen on (127.0.0.1)")
    command.add_argument("--port", type=int, help="port to listen on (8000)")
    _add_no_key(command)

    command = _add(commands, "worker", become_worker, "Run a worker alone, one job at a time.")
    command.add_argument("--queue", default="gpu,intake", help="queues to serve (%(default)s)")

    command = _add(commands, "key", _key, "Print the key of a service on this machine, for curl.")
    command.add_argument("--data-folder", type=Path, help="of the service (ddcal-data)")

    _add(commands, "migrate", become_migrations, "Bring the database's tables up to date.")

    text = "Remove what nobody will read again, as the service does every hour; prints how much."
    command = _add(commands, "housekeeping", become_housekeeping, text)
    command.add_argument("--data-folder", type=Path, help="of the service (ddcal-data)")
    command.add_argument("--dry-run", action="store_true", help="only print what would go")

    text = "Verify every stored file and the database; prints what is damaged, exit 1 if any is."
    command = _add(commands, "check", become_check, text)
    command.add_argument("--data-folder", type=Path, help="of the service (ddcal-data)")


def _add_no_key(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--no-key",
        action="store_true",
        default=None,  # so that the variable counts where the option is not given
        help="answer every program of this machine without a key; on a loopback address only",
    )


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
    command.add_argument(
        "--values", choices=["logits", "probabilities"], help="what these are, where in doubt"
    )
    command.add_argument("--resize", type=int, metavar="SIDE", help="bring images to this side")
    command.add_argument("--colour", choices=["grey", "rgb"], help="bring images to this")
    command.add_argument(
        "--test-fraction", type=float, metavar="SHARE", help="without train and test folders (0.2)"
    )
    command.add_argument("--seed", type=int, help="of that split (0)")
    command.add_argument("--watch", action="store_true", help="and watch it being checked")


if __name__ == "__main__":
    sys.exit(main())
