"""What `ddcal api` and `ddcal migrate` become: this process answers HTTP, or migrates and ends.

Apart from the command line, so that `ddcal watch` loads neither a web framework nor a database.
"""

import argparse
import socket
from collections.abc import Sequence

import uvicorn

from app.main import create_app
from app.shared.database import migrate
from app.shared.settings import Settings

GRACE_SECONDS = 3


def main(argv: Sequence[str] | None = None) -> None:
    """`python -m app.server api [--fd N] | migrate`, everything else from the environment."""
    parser = argparse.ArgumentParser(prog="python -m app.server")
    parser.add_argument("action", choices=["api", "migrate"])
    parser.add_argument("--fd", type=int, help="a listening socket's file descriptor")
    arguments = parser.parse_args(argv)
    settings = Settings()
    if arguments.action == "migrate":
        migrate(settings)
    else:
        answer_http(settings, arguments.fd)


def answer_http(settings: Settings, fd: int | None) -> None:
    """Serve the API until a signal comes, on the settings' host and port or an open socket."""
    server = uvicorn.Server(
        uvicorn.Config(
            create_app(settings),
            host=settings.host,
            port=settings.port,
            log_level=settings.log_level.lower(),
            access_log=False,
            timeout_graceful_shutdown=GRACE_SECONDS,
            server_header=False,
        )
    )
    server.run(sockets=None if fd is None else [socket.socket(fileno=fd)])


if __name__ == "__main__":
    main()
