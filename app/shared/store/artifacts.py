"""The bytes of results: files named by their sha256, in one folder per job.

A file is complete before its name exists (temp name, fsync, rename), and its row is written after
it, so that a row never points at nothing. Who uses a file asks for it `verified`. A folder per job
keeps owners apart and makes deleting a job the deletion of a folder.
"""

import hashlib
import os
import secrets
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from app.shared.errors import DamagedFileError
from app.shared.store.catalog import Artifact
from app.shared.store.verification import OF_THIS_PROCESS, OnRead, VerifiedFiles, ignore_read
from ddcal_core.specs.exports import EXPORTED_FILES

CHUNK_BYTES = 1 << 20
SYNC_BYTES = 64 << 20  # a multiple of a chunk


@dataclass(frozen=True)
class StoredFile:
    """What the store knows of a file it has put."""

    sha256: str
    n_bytes: int


class ArtifactStore:
    """Files below one folder, which API and worker share.

    Args:
        folder: of the files.
        verified: what has been hashed; a process has one for all its stores.
    """

    def __init__(self, folder: Path, verified: VerifiedFiles = OF_THIS_PROCESS) -> None:
        self._folder = folder
        self._verified = verified

    def put(self, job_id: str, source: Path, *, on_read: OnRead = ignore_read) -> StoredFile:
        """Copy a file in, whole or not at all; the same bytes twice are one file.

        Args:
            job_id: whose it is.
            source: an existing file.
            on_read: called after each MiB; what it raises ends the copying.

        Raises:
            OSError: it cannot be read or written; nothing is left behind.
        """
        folder = self._folder / job_id
        folder.mkdir(parents=True, exist_ok=True)
        temporary = _temporary(folder)
        try:
            stored = _copy(source, temporary, on_read)
            temporary.rename(folder / stored.sha256)
        finally:
            temporary.unlink(missing_ok=True)
        # A new name is on the disk once its folder is: until then a power cut could lose it.
        _sync_folder(folder)
        return stored

    def take_over(self, file: Artifact, job_id: str, *, on_read: OnRead = ignore_read) -> None:
        """Give a job a file of another's; either can be deleted and the other keeps its own.

        What the job has under that name is replaced: an earlier attempt may have left it, and
        it may be damaged since.

        Raises:
            DamagedFileError: it is gone, or has other bytes than were stored.
            OSError: it cannot be read or written.
        """
        source = self.verified(file, on_read=on_read)
        folder = self._folder / job_id
        folder.mkdir(parents=True, exist_ok=True)
        temporary = _temporary(folder)
        try:
            # A file here is never changed, so that both may be one.
            os.link(source, temporary)
        except FileNotFoundError:
            raise _damaged(file, "it is missing") from None
        except OSError:  # a file system without links, or with too many of this file
            stored = self.put(job_id, source, on_read=on_read)
            if stored.sha256 != file.sha256:
                raise _damaged(file, "its bytes have just changed") from None
            return
        try:
            temporary.rename(folder / file.sha256)
        finally:
            temporary.unlink(missing_ok=True)
        _sync_folder(folder)

    def verified(self, file: Artifact, *, on_read: OnRead = ignore_read) -> Path:
        """Where a file lies whose bytes are those that were stored; see `verification`.

        Args:
            file: its row.
            on_read: called after each MiB that had to be read.

        Raises:
            DamagedFileError: it is gone, or has other bytes.
            OSError: this process cannot read it.
        """
        path = self.path(file.job_id, file.sha256)
        damage = self._verified.damage(path, file.sha256, on_read=on_read)
        if damage is not None:
            raise _damaged(file, damage)
        return path

    def damage_on_disk(self, file: Artifact, *, on_read: OnRead = ignore_read) -> str | None:
        """What is wrong with a file as the disk has it now; None where nothing is.

        Raises:
            OSError: this process cannot read it.
        """
        path = self.path(file.job_id, file.sha256)
        return self._verified.damage(path, file.sha256, on_read=on_read, is_anew=True)

    def path(self, job_id: str, sha256: str) -> Path:
        """Where a file lies that has been put."""
        return self._folder / job_id / sha256

    def delete_job(self, job_id: str) -> None:
        """Delete all files of a job; of a job without files, nothing."""
        shutil.rmtree(self._folder / job_id, ignore_errors=True)


def _damaged(file: Artifact, damage: str) -> DamagedFileError:
    if file.resource_id.startswith("data_"):
        remedy = "delete the upload and send it again"
    elif file.name in EXPORTED_FILES:
        remedy = "ask for the result in this format again: it is made anew"
    else:
        remedy = (
            f"submit the request of {file.job_id}, or of its pipeline, again: what is damaged is "
            "computed anew"
        )
    return DamagedFileError(f"{file.name} of {file.resource_id} is damaged: {damage}; {remedy}")


def _temporary(folder: Path) -> Path:
    """A name of no other run's: one that has lost the job may still write, of any pid or host."""
    return folder / f".{secrets.token_hex(8)}"


def _copy(source: Path, target: Path, on_read: OnRead) -> StoredFile:
    digest, n_bytes = hashlib.sha256(), 0
    with source.open("rb") as reader, target.open("wb") as writer:
        while chunk := reader.read(CHUNK_BYTES):
            digest.update(chunk)
            writer.write(chunk)
            n_bytes += len(chunk)
            if n_bytes % SYNC_BYTES == 0:  # or one sync at the end could outlast a lease
                _sync(writer)
            on_read()
        _sync(writer)
    return StoredFile(digest.hexdigest(), n_bytes)


def _sync(writer: BinaryIO) -> None:
    writer.flush()
    os.fsync(writer.fileno())


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
