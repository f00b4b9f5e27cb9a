"""What a comparison reads: reports by their ids or their jobs', and how the others have ended."""

import pytest

from app.shared.engine import runs
from app.shared.engine.jobs import insert_job
from app.shared.errors import ConflictError
from app.shared.inputs.run_inputs import inputs_of
from app.shared.settings import Settings
from app.shared.store.artifacts import ArtifactStore
from app.shared.store.catalog import record_artifact, record_result
from app.shared.store.database import Database
from app.shared.store.job_records import Ending, Job
from tests.shared.conftest import OWNER, new_job


def _ended(database: Database, *, has_report: bool) -> tuple[Job, str | None]:
    with database.write() as connection:
        job = insert_job(connection, OWNER, new_job(kind="evaluate"))
        run = runs.claim_next(connection, queue=job.queue, worker="w", lease_seconds=60)
        assert run is not None
        if not has_report:
            runs.fail(connection, run, {"type": "nan_loss", "message": "NaN"}, Ending())
            return job, None
        values = {"dataset": "digits", "calibration_ids": []}
        report_id = record_result(connection, run, "report", values)
        record_artifact(
            connection,
            run,
            report_id,
            name="report.json",
            media_type="application/json",
            sha256="a" * 64,
            n_bytes=1,
        )
        runs.succeed(connection, run, Ending())
        return job, report_id


def test_a_job_without_a_report_says_how_it_has_ended(
    database: Database, settings: Settings
) -> None:
    """Each at the place at which it was asked for; with no report at all there is nothing to do."""
    store = ArtifactStore(settings.artifact_folder)
    one, report_id = _ended(database, has_report=True)
    other, _ = _ended(database, has_report=False)
    asked = [{"report": name, "settings": {}} for name in (report_id, other.id, one.id)]
    with database.write() as connection:
        job = insert_job(connection, OWNER, new_job(kind="compare", params={"reports": asked}))
        lost = insert_job(
            connection, OWNER, new_job(kind="compare", params={"reports": asked[1:2]})
        )
    with database.read() as connection:
        inputs = inputs_of(connection, job, settings, store)
        first, failed, again = inputs.given["reports"]
        assert first == again
        assert (first["report_id"], first["job_id"]) == (report_id, one.id)
        assert failed == {"job_id": other.id, "state": "failed", "message": "NaN"}
        assert [file.name for file in inputs.files] == ["report.json"] * 2
        with pytest.raises(ConflictError, match="none of what was to be compared has a report"):
            inputs_of(connection, lost, settings, store)
