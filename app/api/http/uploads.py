"""A body streamed to disk: counted and hashed as it comes, gone again unless all of it is good.

The file is locked from its first byte until its row is written. A process that is killed on the
way loses its locks, and housekeeping deletes what nobody holds and no job waits for.
"""

import contextlib
import fcntl
import hashlib
import os
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from fastapi import Request
from fastapi.concurrency import run_in_threadpool

from app.shared.errors import TooLargeError
from app.shared.settings import Settings
from app.shared.store.disk import require_room
from app.shared.store.job_records import new_id

WRITE_BYTES = 1 << 20


@dataclass(frozen=True)
class Upload:
    """A body on disk, complete.

    Attributes:
        path: where it lies; whoever holds the upload deletes it or passes it on.
        sha256: of its bytes.
        n_bytes: how many.
        file: open, and holding the lock.
    """

    path: Path
    sha256: str
    n_bytes: int
    file: BinaryIO

    def release(self) -> None:
        """Let go of the lock, once a job waits for the file or it is deleted."""
        self.file.close()


class Sink:
    """A temporary file being written, away from the event loop.

    Args:
        folder: that it is to lie in.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.path, self._file = _new_locked_file(folder)
        self._digest = hashlib.sha256()
        self.n_bytes = 0

    def write(self, data: bytes) -> None:
        """Write some bytes behind those before."""
        self._file.write(data)
        self._digest.update(data)
        self.n_bytes += len(data)

    def flush(self) -> None:
        """Let others read what was written."""
        self._file.flush()

    def finish(self) -> Upload:
        """Give the file, on disk and locked."""
        self._file.flush()
        os.fsync(self._file.fileno())
        return Upload(self.path, self._digest.hexdigest(), self.n_bytes, self._file)

    def discard(self) -> None:
        """Delete the file."""
        self.path.unlink(missing_ok=True)
        # What a full disk has not taken is still in its buffer, and closing tries once more.
        with contextlib.suppress(OSError):
            self._file.close()


async def receive_upload(request: Request, settings: Settings) -> Upload:
    """Stream a request's body into a file, which stays locked until the upload is released.

    Args:
        request: whose body is still unread, and whose declared length is a number.
        settings: where the file goes, how large it may be, and what has to stay free.

    Raises:
        TooLargeError: more bytes came than may.
        DiskFullError, OSError: the disk has no room for it.
        ClientDisconnect: the client went away. In every case of failure the file is gone.
    """
    sink = await run_in_threadpool(Sink, settings.upload_folder)
    try:
        async for piece in pieces_of(request, settings):
            await run_in_threadpool(write_to, sink, piece, settings)
        return await run_in_threadpool(sink.finish)
    # A cancelled request as well, which is no Exception.
    except BaseException:
        sink.discard()
        raise


async def pieces_of(request: Request, settings: Settings) -> AsyncIterator[bytes]:
    """Give a request's body in pieces of about a megabyte.

    Args:
        request: as `receive_upload` takes it.
        settings: likewise.

    Raises:
        TooLargeError: more bytes came than may.
        DiskFullError: the disk has no room for what it is said to have.
    """
    limit, n_bytes = settings.max_upload_bytes, 0
    require_room(settings, int(request.headers.get("content-length", "0")))
    waiting = bytearray()
    async for chunk in request.stream():
        waiting += chunk
        n_bytes += len(chunk)
        if n_bytes > limit:
            raise TooLargeError("too_large", f"an upload may have at most {limit} bytes, got more")
        if len(waiting) >= WRITE_BYTES:
            yield bytes(waiting)
            waiting.clear()
    yield bytes(waiting)


def write_to(sink: Sink, data: bytes, settings: Settings) -> None:
    """Write some bytes if the disk has room for them.

    Raises:
        DiskFullError: it has not.
    """
    require_room(settings, len(data))
    sink.write(data)


def _new_locked_file(folder: Path) -> tuple[Path, BinaryIO]:
    """A new file that housekeeping does not take for one left behind."""
    while True:
        path = folder / f"{new_id('upload')}.zip"
        file = path.open("xb")
        with contextlib.suppress(OSError):  # where files cannot be locked, nobody locks one
            fcntl.flock(file, fcntl.LOCK_EX)
        if os.fstat(file.fileno()).st_nlink:
            return path, file
        file.close()  # housekeeping came between the two
