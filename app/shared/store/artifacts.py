"""The bytes of results: files named by their sha256, in one folder a job.

A file is complete before its name exists (temp name, fsync, rename), and its row is written after
it, so that a row never points at nothing. A folder a job keeps owners apart and makes deleting a
job the deletion of a folder.
"""

import hashlib
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

CHUNK_BYTES = 1 << 20


@dataclass(frozen=True)
class StoredFile:
    """What the store knows of a file it has put."""

    sha256: str
    n_bytes: int


class ArtifactStore:
    """Files below one folder, which API and worker share."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def put(self, job_id: str, source: Path) -> StoredFile:
        """Copy a file in, whole or not at all; the same bytes twice are one file.

        Raises:
            OSError: it cannot be read or written; nothing is left behind.
        """
        folder = self._folder / job_id
        folder.mkdir(parents=True, exist_ok=True)
        # One run of a job writes at a time, but a lost one may still be at it: its own name each.
        temporary = folder / f".{os.getpid()}-{source.name}"
        try:
            stored = _copy(source, temporary)
            temporary.rename(folder / stored.sha256)
        finally:
            temporary.unlink(missing_ok=True)
        # A new name is on the disk once its folder is: until then a power cut could lose it.
        _sync_folder(folder)
        return stored

    def take_over(self, from_job_id: str, job_id: str, sha256: str) -> None:
        """Give a job a file of another's; either can be deleted and the other keeps its own.

        Raises:
            OSError: it is not there, or cannot be written.
        """
        folder = self._folder / job_id
        folder.mkdir(parents=True, exist_ok=True)
        source = self.path(from_job_id, sha256)
        try:
            # A file here is never changed, so that both may be one.
            os.link(source, folder / sha256)
        except FileExistsError:
            return
        except OSError:  # a file system without links, or with too many of this file
            self.put(job_id, source)
            return
        _sync_folder(folder)

    def path(self, job_id: str, sha256: str) -> Path:
        """Where a file lies that has been put."""
        return self._folder / job_id / sha256

    def delete_job(self, job_id: str) -> None:
        """Delete all files of a job; of a job without files, nothing."""
        shutil.rmtree(self._folder / job_id, ignore_errors=True)


def _copy(source: Path, target: Path) -> StoredFile:
    digest, n_bytes = hashlib.sha256(), 0
    with source.open("rb") as reader, target.open("wb") as writer:
        while chunk := reader.read(CHUNK_BYTES):
            digest.update(chunk)
            writer.write(chunk)
            n_bytes += len(chunk)
        writer.flush()
        os.fsync(writer.fileno())
    return StoredFile(digest.hexdigest(), n_bytes)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
