"""Whether files still have the sha256 they were stored with.

A process hashes a file when it first uses it, and again once its device, inode, size, mtime or
ctime has changed. Whatever writes to a file through the kernel changes its ctime, also where size
and mtime are put back. What changes none of them is not seen before the next process: a medium
that rots, or somebody who writes to the device itself. A scrub reads anew (see upkeep.scrubbing).
"""

import errno
import hashlib
import os
import stat
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

READ_BYTES = 1 << 20
MAX_FILES = 20_000
N_LOCKS = 16
# Two changes within one tick of a file system's clock have the same ctime.
TICK_NS = 2_000_000_000

OnRead = Callable[[], object]


def ignore_read() -> None:
    """Take no notice of how far a file has been read."""


@dataclass(frozen=True)
class _Seen:
    """What a file was like when it was hashed; times in nanoseconds."""

    size: int
    mtime: int
    ctime: int
    sha256: str


class VerifiedFiles:
    """The files that a process has hashed; for all of its threads.

    Args:
        max_files: the least recently used are forgotten beyond so many.
        clock: nanoseconds since 1970, as the file system's times.
    """

    def __init__(
        self, *, max_files: int = MAX_FILES, clock: Callable[[], int] = time.time_ns
    ) -> None:
        self._max_files = max_files
        self._clock = clock
        self._seen: dict[tuple[int, int], _Seen] = {}
        self._lock = threading.Lock()
        # Of several threads that ask for one file, one reads it.
        self._reading = tuple(threading.Lock() for _ in range(N_LOCKS))

    def damage(
        self, path: Path, sha256: str, *, on_read: OnRead = ignore_read, is_anew: bool = False
    ) -> str | None:
        """What is wrong with a file; None where it has this sha256.

        Args:
            path: of the file.
            sha256: hexadecimal, of the bytes that were stored.
            on_read: called after each MiB that is read.
            is_anew: read it from the disk even where it was hashed before.

        Raises:
            OSError: this process cannot read it, which does not mean that it is damaged.
        """
        try:
            found = self._digest(path, on_read, is_anew=is_anew)
        except (FileNotFoundError, NotADirectoryError):
            return "it is missing"
        except OSError as error:
            if error.errno != errno.EIO:
                raise
            return "the disk cannot read it"
        return None if found == sha256 else f"its bytes have sha256 {found}, not {sha256}"

    def _digest(self, path: Path, on_read: OnRead, *, is_anew: bool) -> str:
        if not stat.S_ISREG(path.stat().st_mode):  # to open a pipe would wait for its writer
            raise FileNotFoundError(errno.ENOENT, "not a file", str(path))
        with path.open("rb") as file:
            status = os.fstat(file.fileno())
            # A file that is known does not wait for another one that has the same lock.
            known = None if is_anew else self._recall(status)
            if known is not None:
                return known
            with self._reading[status.st_ino % N_LOCKS]:
                known = None if is_anew else self._recall(status)
                if known is not None:
                    return known
                if is_anew:
                    # Or the page cache would vouch for what the disk no longer has.
                    os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
                digest = _hash(file, on_read)
                self._remember(status, os.fstat(file.fileno()), digest)
                return digest

    def _recall(self, status: os.stat_result) -> str | None:
        with self._lock:
            seen = self._seen.pop(_key(status), None)
            if seen is None or seen != _as_seen(status, seen.sha256):
                return None
            self._seen[_key(status)] = seen  # the last of the dict: used last
            return seen.sha256

    def _remember(self, before: os.stat_result, after: os.stat_result, digest: str) -> None:
        seen = _as_seen(before, digest)
        # A change within a tick of the last one would not show.
        is_settled = self._clock() - seen.ctime > TICK_NS
        with self._lock:
            self._seen.pop(_key(before), None)
            if is_settled and seen == _as_seen(after, digest):
                self._seen[_key(before)] = seen
            while len(self._seen) > self._max_files:
                del self._seen[next(iter(self._seen))]


OF_THIS_PROCESS = VerifiedFiles()


def _hash(file: BinaryIO, on_read: OnRead) -> str:
    digest = hashlib.sha256()
    while chunk := file.read(READ_BYTES):
        digest.update(chunk)
        on_read()
    return digest.hexdigest()


def _key(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino


def _as_seen(status: os.stat_result, digest: str) -> _Seen:
    return _Seen(status.st_size, status.st_mtime_ns, status.st_ctime_ns, digest)
