"""/v1/jobs/{id}/snapshots: pictures of what a distillation learns, while it runs and afterwards."""

import hashlib
from typing import Annotated

from fastapi import APIRouter, Path, Request
from fastapi.responses import Response

from app.api.http.dependencies import OwnerDep, Service, ServiceDep, checked_id
from app.api.http.responses import is_known, json_answer, not_modified, problems
from app.api.job_views import family_of
from app.api.schemas.jobs import SnapshotBody, SnapshotList
from app.shared.engine.snapshots import Snapshot, SnapshotStore
from app.shared.store.database import Connection
from app.shared.store.job_queries import Family, find_job
from app.shared.store.job_records import Job
from app.shared.store.kinds import KINDS

router = APIRouter(prefix="/v1/jobs", tags=["jobs"])

PNG = {"type": "string", "format": "binary"}

Step = Annotated[int, Path(ge=0, le=999_999_999)]


@router.get(
    "/{job_id}/snapshots",
    response_model=SnapshotList,
    responses=problems(404, 422),
    summary="List pictures of a distillation",
)
def list_job_snapshots(service: ServiceDep, owner_id: OwnerDep, job_id: str) -> Response:
    """What a distillation learns, by step, from its start on; of a pipeline, of its distillation.

    They come while it runs: some twenty, evenly spaced, those at the steps where it is scored on
    validation images among them. They stay with the job; a job that has taken over another's
    results has its pictures, too. Other jobs have none.
    """
    with service.database.read() as connection:
        maker = _maker(connection, owner_id, checked_id("job", job_id))
    items = [] if maker is None else snapshot_bodies(maker, snapshots_of(service, maker))
    return json_answer(SnapshotList(items=items))


@router.get(
    "/{job_id}/snapshots/{step}",
    response_class=Response,
    responses={
        200: {"description": "The picture.", "content": {"image/png": {"schema": PNG}}},
        304: {"description": "If-None-Match has its ETag."},
        **problems(404, 422),
    },
    summary="Look at a picture of a distillation",
)
def get_job_snapshot(
    request: Request, service: ServiceDep, owner_id: OwnerDep, job_id: str, step: Step
) -> Response:
    """A PNG: a row of images for each class, 20 classes and 10 images of each at most.

    What it leaves out it says itself. An attempt that goes over a step again replaces its picture.
    """
    with service.database.read() as connection:
        wanted = checked_id("job", job_id)
        maker = _maker(connection, owner_id, wanted)
    content = _store(service).read(wanted if maker is None else maker.id, step)
    headers = {
        "ETag": f'"{hashlib.sha256(content).hexdigest()[:32]}"',
        "Cache-Control": "private, no-cache",
    }
    if is_known(request, headers["ETag"]):
        return not_modified(headers)
    return Response(content, media_type="image/png", headers=headers)


def maker_of(job: Job, family: Family) -> Job | None:
    """Whose pictures are shown with a job: its own, or those of a pipeline's distillation."""
    shown = family.shown if KINDS[job.kind].shows_all_jobs else ()
    return next((one for one in (job, *shown) if KINDS[one.kind].keeps_snapshots), None)


def snapshots_of(service: Service, maker: Job) -> list[Snapshot]:
    """The pictures that there are of a job at present."""
    return _store(service).shown(maker.id)


def snapshot_bodies(maker: Job, found: list[Snapshot]) -> list[SnapshotBody]:
    """Pictures, shown with their addresses."""
    url = f"/v1/jobs/{maker.id}/snapshots"
    return [
        SnapshotBody(step=one.step, n_bytes=one.n_bytes, url=f"{url}/{one.step}") for one in found
    ]


def _maker(connection: Connection, owner_id: str, job_id: str) -> Job | None:
    job = find_job(connection, owner_id, job_id)
    return maker_of(job, family_of(connection, job))


def _store(service: Service) -> SnapshotStore:
    return SnapshotStore(service.settings.snapshot_folder)
