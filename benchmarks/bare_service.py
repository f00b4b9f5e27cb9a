"""A FastAPI application that does nothing: the floor of `service`.

    python -m benchmarks.bare_service FD

Served as ddcal's API is.
"""

import socket
import sys

import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel

app = FastAPI()


class Asked(BaseModel):
    """A body as small as they come."""

    kind: str
    dataset: str
    seed: int = 0


@app.get("/ok")
async def get_ok() -> dict[str, bool]:
    """Answer."""
    return {"ok": True}


@app.post("/ok")
async def post_ok(asked: Asked) -> dict[str, str]:
    """Read a body and answer."""
    return {"kind": asked.kind}


def main(fd: int) -> None:
    """Serve on an open socket."""
    config = uvicorn.Config(
        app, log_config=None, log_level="warning", access_log=False, server_header=False
    )
    uvicorn.Server(config).run(sockets=[socket.socket(fileno=fd)])


if __name__ == "__main__":
    main(int(sys.argv[1]))
