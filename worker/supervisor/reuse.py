"""A finished job's results, taken over by a run of the same recipe instead of computing them again.

Each result gets an id of its own, and so does each file's row: deleting either job leaves the other
whole. Where a result or a text of it names an input by id, the copy names the run's own input of
that place; files in which nothing has to be replaced are the same files.
"""

import gzip
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from app.shared.engine.recipes import Finished, Recipe
from app.shared.store.artifacts import ArtifactStore
from app.shared.store.catalog import Artifact, record_artifact, record_result
from app.shared.store.database import Connection
from app.shared.store.job_records import Job
from app.shared.store.verification import OnRead
from ddcal_core.specs.results import Resource
from worker.supervisor.recipes import with_ids_replaced

TEXT_TYPES = frozenset({"application/json", "text/csv", "text/html"})
PACKED_TEXT_TYPE = "application/gzip"


@dataclass(frozen=True, kw_only=True)
class Copy:
    """Another job's results as a run's own: the files are there, the rows are still to be.

    Attributes:
        job_id: whose results these were.
        results: resource, values and the rows of its files.
    """

    job_id: str
    results: tuple[tuple[Resource, dict[str, Any], tuple[dict[str, Any], ...]], ...]

    def as_note(self) -> dict[str, str]:
        """What users are told of it."""
        message = f"the results are those of {self.job_id}, which had the same recipe"
        return {"code": "reused", "message": message, "job_id": self.job_id}

    def record(self, connection: Connection, run: Job) -> None:
        """Write the rows."""
        for resource, values, files in self.results:
            resource_id = record_result(connection, run, resource, values)
            for file in files:
                record_artifact(connection, run, resource_id, **file)


def copy_results(
    finished: Finished,
    run: Job,
    recipe: Recipe,
    *,
    store: ArtifactStore,
    scratch: Path,
    on_read: OnRead,
) -> Copy:
    """Take over the files of a finished job.

    Args:
        finished: a job of the recipe.
        run: who takes them over.
        recipe: the run's.
        store: where the files lie.
        scratch: an existing folder to write in.
        on_read: called after each MiB that is read of them.

    Raises:
        DamagedFileError: a file is gone or has other bytes than were stored; none is taken over.
        OSError: one cannot be read or written.
    """
    for file in finished.files:
        store.verified(file, on_read=on_read)
    new_ids = dict(zip(finished.ids, recipe.ids, strict=True))
    results = []
    for result in finished.results:
        values = json.loads(with_ids_replaced(json.dumps(result.details), new_ids))
        files = []
        for file in finished.files:
            if file.resource_id == result.id:
                copied = _copy_file(
                    file, run, new_ids, store=store, scratch=scratch, on_read=on_read
                )
                files.append(copied)
        results.append((result.resource, values, tuple(files)))
    return Copy(job_id=finished.job_id, results=tuple(results))


def _copy_file(
    file: Artifact,
    run: Job,
    new_ids: Mapping[str, str],
    *,
    store: ArtifactStore,
    scratch: Path,
    on_read: OnRead,
) -> dict[str, Any]:
    row = {
        "name": file.name,
        "media_type": file.media_type,
        "sha256": file.sha256,
        "n_bytes": file.n_bytes,
    }
    is_packed = file.media_type == PACKED_TEXT_TYPE
    if (is_packed or file.media_type in TEXT_TYPES) and new_ids:
        written = store.verified(file, on_read=on_read).read_bytes()
        text = (gzip.decompress(written) if is_packed else written).decode()
        replaced = with_ids_replaced(text, new_ids)
        if replaced != text:
            copy, data = scratch / file.name, replaced.encode()
            # Without a time in it equal text gives an equal file, as where it was first written.
            copy.write_bytes(gzip.compress(data, 6, mtime=0) if is_packed else data)
            stored = store.put(run.id, copy, on_read=on_read)
            return {**row, "sha256": stored.sha256, "n_bytes": stored.n_bytes}
    store.take_over(file, run.id, on_read=on_read)
    return row
