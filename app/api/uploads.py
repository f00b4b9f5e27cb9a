"""A body streamed to disk: counted and hashed as it comes, gone again unless all of it is good."""

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

from fastapi import Request
from fastapi.concurrency import run_in_threadpool

from app.shared.errors import TooLargeError
from app.shared.job_records import new_id

WRITE_BYTES = 1 << 20


@dataclass(frozen=True)
class Upload:
    """A body on disk, complete.

    Attributes:
        path: where it lies; whoever holds the upload deletes it or passes it on.
        sha256: of its bytes.
        n_bytes: how many.
    """

    path: Path
    sha256: str
    n_bytes: int


class _Sink:
    """A temporary file being written, away from the event loop."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        self._digest = hashlib.sha256()
        self._file = path.open("xb")
        self.n_bytes = 0

    def write(self, data: bytes) -> None:
        self._file.write(data)
        self._digest.update(data)
        self.n_bytes += len(data)

    def finish(self) -> Upload:
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        return Upload(self.path, self._digest.hexdigest(), self.n_bytes)

    def discard(self) -> None:
        self._file.close()
        self.path.unlink(missing_ok=True)


async def receive_upload(request: Request, folder: Path, *, limit: int) -> Upload:
    """Stream a request's body into a file.

    Args:
        request: whose body is still unread.
        folder: where the file goes.
        limit: most bytes.

    Raises:
        TooLargeError: more bytes came than the limit.
        ClientDisconnect: the client went away. In every case of failure the file is gone.
    """
    sink = await run_in_threadpool(_Sink, folder / f"{new_id('upload')}.npz")
    try:
        waiting = bytearray()
        async for chunk in request.stream():
            waiting += chunk
            if sink.n_bytes + len(waiting) > limit:
                raise TooLargeError(
                    "too_large", f"an upload may have at most {limit} bytes, got more"
                )
            if len(waiting) >= WRITE_BYTES:
                await run_in_threadpool(sink.write, bytes(waiting))
                waiting.clear()
        await run_in_threadpool(sink.write, bytes(waiting))
        return await run_in_threadpool(sink.finish)
    except BaseException:
        sink.discard()
        raise
