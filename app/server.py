"""What `ddcal api` and `ddcal migrate` become: this process answers HTTP, or migrates and ends.

Apart from the command line, so that `ddcal watch` loads neither a web framework nor a database.
"""

import argparse
import logging
import socket
from collections.abc import Sequence
from typing import Any

import uvicorn
from fastapi.concurrency import run_in_threadpool

from app.main import create_app
from app.shared.engine.runs import end_leases
from app.shared.errors import UnavailableError
from app.shared.json_logs import log_as_json
from app.shared.settings import Settings, SettingsError
from app.shared.startup import create_privately, exit_over_settings
from app.shared.store.database import migrate, open_database, settings_with_database_or_exit

logger = logging.getLogger(__name__)

GRACE_SECONDS = 3


class Server(uvicorn.Server):
    """uvicorn's, made to end streams first: they would keep it waiting, and be cut off in the end.

    Inherited from, as uvicorn has no other way to be told of its stop.
    """

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End every stream and every wait of the application, then the rest."""
        application: Any = self.config.app
        await run_in_threadpool(application.state.service.reader.stop)
        await super().shutdown(sockets)


def main(argv: Sequence[str] | None = None) -> None:
    """`python -m app.server api [--fd N] | migrate [--alone]`, the rest from the environment."""
    parser = argparse.ArgumentParser(prog="python -m app.server")
    parser.add_argument("action", choices=["api", "migrate"])
    parser.add_argument("--fd", type=int, help="a listening socket's file descriptor")
    parser.add_argument(
        "--alone", action="store_true", help="no worker runs: what a former one has begun is lost"
    )
    arguments = parser.parse_args(argv)
    settings = settings_with_database_or_exit()
    create_privately()
    log_as_json(settings.log_level)
    try:
        if arguments.action == "migrate":
            migrate(settings)
            if arguments.alone:
                _end_leases(settings)
        else:
            answer_http(settings, arguments.fd)
    except SettingsError as error:
        exit_over_settings(error)
    except UnavailableError as error:
        raise SystemExit(f"ddcal: {error}") from None


def _end_leases(settings: Settings) -> None:
    database = open_database(settings)
    try:
        with database.write() as connection:
            n_runs = end_leases(connection)
    finally:
        database.close()
    if n_runs:
        logger.warning("%d runs of a service that has ended are tried again", n_runs)


def answer_http(settings: Settings, fd: int | None) -> None:
    """Serve the API until a signal comes, on the settings' host and port or an open socket."""
    server = Server(
        uvicorn.Config(
            create_app(settings),
            host=settings.host,
            port=settings.port,
            # uvicorn's own would replace the handler of log_as_json.
            log_config=None,
            log_level=settings.log_level.lower(),
            access_log=False,  # the middleware logs what changes something, or fails
            timeout_graceful_shutdown=GRACE_SECONDS,
            server_header=False,
        )
    )
    server.run(sockets=None if fd is None else [socket.socket(fileno=fd)])


if __name__ == "__main__":
    main()
