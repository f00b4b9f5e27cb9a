"""Scrubbing: every stored file is read from the disk anew, and the database checked, in the end.

What is damaged is told of and stays, rows included: somebody may have the file in a backup, which
mends it by being put back. Nobody uses a damaged file meanwhile, see store.verification.
"""

import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import select

from app.shared.settings import Settings
from app.shared.store.artifacts import ArtifactStore
from app.shared.store.catalog import Artifact, artifact_of
from app.shared.store.database import Database
from app.shared.store.integrity import check_database
from app.shared.store.job_states import TERMINAL_STATES
from app.shared.store.kinds import INTAKE
from app.shared.store.tables import artifacts, datasets, jobs
from app.shared.store.verification import OF_THIS_PROCESS

logger = logging.getLogger(__name__)

PASS_SECONDS = 86_400
_BATCH = 500


@dataclass(frozen=True, kw_only=True)
class Looked:
    """What came of looking at a file.

    Attributes:
        file: its row.
        damage: what is wrong with it; None where nothing is.
    """

    file: Artifact
    damage: str | None

    def __str__(self) -> str:
        """The file and what is wrong with it, for people."""
        file = self.file
        return f"{file.name} of {file.resource_id} ({file.job_id}, {file.id}): {self.damage}"


def look_at_files(database: Database, settings: Settings, *, after: str = "") -> Iterator[Looked]:
    """Read all stored files, by id, from the one on that follows; no transaction lasts meanwhile.

    Raises:
        UnavailableError: the database does not answer.
    """
    store = ArtifactStore(settings.artifact_folder)
    for file in _stored_files(database, after):
        try:
            damage = store.damage_on_disk(file)
        except OSError as error:
            damage = _unreadable(error)
        if damage is None or _has_row(database, file):
            yield Looked(file=file, damage=damage)


def missing_files(
    database: Database, settings: Settings, *, is_stopping: Callable[[], bool] = lambda: False
) -> Iterator[Artifact]:
    """The stored files that are not there, or cannot be looked at; none is read."""
    store = ArtifactStore(settings.artifact_folder)
    for file in _stored_files(database):
        if is_stopping():
            return
        if not _is_there(store.path(file.job_id, file.sha256)) and _has_row(database, file):
            yield file


def damaged_uploads(database: Database, settings: Settings) -> Iterator[str]:
    """The uploads that wait for their check and are gone, unreadable or have other bytes."""
    waiting = (
        select(jobs.c.id, jobs.c.params, datasets.c.name, datasets.c.sha256)
        .join(datasets, datasets.c.job_id == jobs.c.id)
        .where(jobs.c.kind == INTAKE, jobs.c.state.not_in(TERMINAL_STATES))
    )
    with database.read() as connection:
        rows = connection.execute(waiting).all()
    for row in rows:
        path = settings.upload_folder / row.params["upload"]
        try:
            damage = OF_THIS_PROCESS.damage(path, row.sha256, is_anew=True)
        except OSError as error:
            damage = _unreadable(error)
        with database.read() as connection:
            still_waits = connection.execute(waiting.where(jobs.c.id == row.id)).all()
        if damage is not None and still_waits:
            yield f"the upload {row.name!r} ({row.id}): {damage}"


class Scrubber:
    """Scrubs a few files at a time, each at most once a day; a process has one.

    Attributes:
        damaged: ids of the files that were damaged or missing when last looked at.
        complaints: what was wrong with the database when it was last checked.
    """

    def __init__(
        self, database: Database, settings: Settings, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._database = database
        self._settings = settings
        self._clock = clock
        self._due_at = clock()
        self._after: str | None = None
        self._found: set[str] = set()
        self.damaged: set[str] = set()
        self.complaints: tuple[str, ...] = ()

    def scrub(self, *, is_stopping: Callable[[], bool] = lambda: False) -> None:
        """One round: at the start of a pass the database, then files of so many bytes.

        Raises:
            UnavailableError: the database does not answer; the next round goes on from here.
        """
        n_left = self._settings.scrub_bytes
        if self._after is None and not self._begin():
            return
        for looked in look_at_files(self._database, self._settings, after=self._after or ""):
            self._after = looked.file.id
            self._note(looked)
            n_left -= looked.file.n_bytes
            if n_left <= 0 or is_stopping():
                return
        # What has been put back or deleted since the last pass is damaged no more.
        self._after, self.damaged = None, self._found

    def _begin(self) -> bool:
        """Begin a pass; False where it is too early for one."""
        if self._settings.scrub_bytes == 0 or self._clock() < self._due_at:
            return False
        self.complaints = check_database(self._database).complaints
        for complaint in self.complaints:
            logger.error("the database is damaged: %s", complaint)
        self._due_at = self._clock() + PASS_SECONDS
        self._after, self._found = "", set()
        return True

    def _note(self, looked: Looked) -> None:
        if looked.damage is None:
            self.damaged.discard(looked.file.id)
            return
        logger.error("damaged: %s", looked)
        self._found.add(looked.file.id)
        self.damaged.add(looked.file.id)


def _stored_files(database: Database, after: str = "") -> Iterator[Artifact]:
    """All owners' files by id, a page at a time."""
    while True:
        page = select(artifacts).where(artifacts.c.id > after).order_by(artifacts.c.id)
        with database.read() as connection:
            files = [artifact_of(row) for row in connection.execute(page.limit(_BATCH))]
        yield from files
        if len(files) < _BATCH:
            return
        after = files[-1].id


def _unreadable(error: OSError) -> str:
    return f"it cannot be read: {error.strerror}"


def _is_there(path: Path) -> bool:
    # Path.exists raises where a folder may not be searched or the disk does not answer.
    try:
        path.stat()
    except OSError:
        return False
    return True


def _has_row(database: Database, file: Artifact) -> bool:
    """A job's rows go before its files do: a file with a row has really been lost."""
    with database.read() as connection:
        row = connection.execute(select(artifacts.c.id).where(artifacts.c.id == file.id))
        return row.one_or_none() is not None
