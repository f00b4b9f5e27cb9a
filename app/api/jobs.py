"""/v1/jobs: look, list, cancel, delete, and what a job has left; job_submission has the rest."""

from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi.responses import PlainTextResponse, Response, StreamingResponse
from pydantic import Field

from app.api.http.dependencies import (
    OwnerDep,
    ServiceDep,
    checked_id,
    current_owner,
    service_of,
)
from app.api.http.paging import page_position, page_token
from app.api.http.preferences import PREFER, wait_seconds
from app.api.http.responses import IF_NONE_MATCH, is_known, json_answer, not_modified, problems
from app.api.http.searching import (
    ByMethod,
    OnDataset,
    PagedQuery,
    asked_change,
    change_body,
    written,
)
from app.api.job_logs import log_lines
from app.api.job_views import (
    family_of,
    job_etag,
    job_summary,
    retry_after,
    version_of,
    waiting_place,
    whole_job_body,
)
from app.api.schemas.jobs import JobBody, JobPage
from app.api.schemas.results import ArtifactList, artifact_body
from app.shared.engine import deletion
from app.shared.engine.versions import JobVersion, find_version
from app.shared.store import job_queries
from app.shared.store.catalog import artifacts_of_job
from app.shared.store.database import Connection
from app.shared.store.job_queries import NO_FAMILY, describe_one, families_of, find_job
from app.shared.store.job_states import JobState
from app.shared.store.kinds import KINDS, Kind, is_composite
from app.submission.description_fields import NewDescription
from app.submission.submit import cancel
from ddcal_core.specs.fields import JOB_REFERENCE

router = APIRouter(prefix="/v1/jobs", tags=["jobs"])

JOB_ID: dict[str, Any] = {
    "name": "job_id",
    "in": "path",
    "required": True,
    "schema": {"type": "string", "title": "Job Id"},
}


class JobListQuery(PagedQuery):
    """Which jobs a list shows."""

    state: JobState | None = Field(None, description="As it is shown, see `state` of a job.")
    kind: Kind | None = Field(None, description="Of this kind.")
    dataset: OnDataset = None
    method: ByMethod = Field(None, description="Of a distillation or a pipeline.", examples=["dm"])
    images_per_class: int | None = Field(
        None, ge=1, le=100_000, description="Of the set they distil or train on."
    )
    mask_ratio: float | None = Field(
        None, ge=0, lt=1, description="Share masked during distillation; 0 for no mask."
    )
    parent: str | None = Field(
        None,
        pattern=f"^none$|{JOB_REFERENCE}",
        description="Jobs of this pipeline; `none` for jobs that are in no pipeline.",
    )

    def filters(self) -> dict[str, str | int | float]:
        """Wanted values, by column: each field that is no search's or page's is one."""
        wanted = self.model_dump(exclude=set(PagedQuery.model_fields), exclude_none=True)
        if "parent" in wanted:
            wanted["parent_id"] = wanted.pop("parent").replace("none", "")
        return wanted


@router.get("", response_model=JobPage, responses=problems(400, 422), summary="List jobs")
def list_jobs(
    service: ServiceDep, owner_id: OwnerDep, query: Annotated[JobListQuery, Query()]
) -> Response:
    """Jobs, newest first, a page at a time."""
    after = page_position(query.page_token, query.asked())
    with service.database.read() as connection:
        found = job_queries.list_jobs(
            connection,
            owner_id,
            filters=query.filters(),
            search=query.search(),
            after=None if after is None else after[0],
            limit=query.page_size + 1,
        )
        shown = found[: query.page_size]
        at_work = [job for job in shown if is_composite(job.kind) and not job.is_terminal]
        families = families_of(connection, owner_id, at_work) if at_work else {}
    token = page_token(shown[-1].id, query.asked()) if len(found) > len(shown) else None
    items = [job_summary(job, families.get(job.id, NO_FAMILY)) for job in shown]
    return json_answer(JobPage(items=items, next_page_token=token))


@router.get(
    "/{job_id}",
    response_model=JobBody,
    responses={304: {"description": "If-None-Match has its ETag."}, **problems(404, 503)},
    openapi_extra={"parameters": [JOB_ID, PREFER]},
    summary="Look at a job",
)
async def get_job(request: Request) -> Response:
    """A job with its attempts, children and results; 304 when If-None-Match has its ETag.

    With `Prefer: wait=N` besides, the answer waits up to N seconds for the job to change.
    """
    wanted = checked_id("job", request.path_params["job_id"])
    service, owner_id = await service_of(request), await current_owner(request)
    look = partial(_look, request, owner_id, wanted)
    answer, seen = await service.reads.run(lambda: look)
    seconds = wait_seconds(request)
    if seen.is_terminal or seconds is None:
        return answer
    # Only who knows the present version waits; any other is answered at once.
    if answer.status_code == 304:
        service.reader.require_room()
        await service.reader.wait_for_change(seen, seconds=seconds)
        answer, _ = await service.reads.run(lambda: look)
    answer.headers["Preference-Applied"] = f"wait={seconds}"
    return answer


@router.patch(
    "/{job_id}",
    response_model=JobBody,
    responses=problems(400, 404, 413, 415, 422),
    openapi_extra={"parameters": [JOB_ID], **change_body(NewDescription)},
    summary="Change a job's name, tags or notes",
)
async def update_job(request: Request) -> Response:
    """What is left out stays; null takes away, of `tags` each by itself (RFC 7396).

    Jobs of a pipeline and results keep what they have taken on.
    """
    wanted = checked_id("job", request.path_params["job_id"])
    service, owner_id = await service_of(request), await current_owner(request)
    given = await asked_change(request, NewDescription)

    def change(connection: Connection) -> Response:
        describe_one(connection, owner_id, wanted, given)
        job = find_job(connection, owner_id, wanted)
        return json_answer(whole_job_body(connection, job, family_of(connection, job)))

    return await written(service, change)


@router.post(
    "/{job_id}/cancel",
    response_model=JobBody,
    responses={
        202: {"description": "It is running and has been asked to stop.", "model": JobBody},
        **problems(404, 409),
    },
    summary="Cancel a job",
)
def cancel_job(service: ServiceDep, owner_id: OwnerDep, job_id: str) -> Response:
    """Cancel a job, of a pipeline every child; again on a cancelled one changes nothing."""
    job = cancel(service.database, service.settings, owner_id, checked_id("job", job_id))
    with service.database.read() as connection:
        shown = whole_job_body(connection, job, family_of(connection, job))
    return json_answer(shown, status=200 if job.is_terminal else 202)


@router.delete(
    "/{job_id}", status_code=204, responses=problems(404, 409), summary="Delete an ended job"
)
def delete_job(service: ServiceDep, owner_id: OwnerDep, job_id: str) -> Response:
    """Delete an ended job with its results and their files; a pipeline with its children."""
    with service.database.write() as connection:
        deleted = deletion.delete_job(connection, owner_id, checked_id("job", job_id))
    # After the commit: rows without files would be results that cannot be read.
    for one in deleted:
        deletion.delete_files(service.settings, one)
    return Response(status_code=204)


@router.get(
    "/{job_id}/log",
    response_class=PlainTextResponse,
    responses=problems(404),
    summary="Read a job's log",
)
def get_job_log(service: ServiceDep, owner_id: OwnerDep, job_id: str) -> Response:
    """What the trainer printed, as plain text; of a pipeline the logs of its children in turn.

    Of a study, those of its jobs at work: each ended job has its own.
    """
    with service.database.read() as connection:
        job = find_job(connection, owner_id, checked_id("job", job_id))
        family = family_of(connection, job)
    lines = log_lines(service.settings.log_folder, job, family.shown)
    return StreamingResponse(
        lines, media_type="text/plain; charset=utf-8", headers={"Cache-Control": "no-store"}
    )


@router.get(
    "/{job_id}/artifacts",
    response_model=ArtifactList,
    responses=problems(404),
    summary="List a job's files",
)
def list_job_artifacts(service: ServiceDep, owner_id: OwnerDep, job_id: str) -> Response:
    """The files a job has made; of a pipeline those of its children, of a study its comparison."""
    with service.database.read() as connection:
        job = find_job(connection, owner_id, checked_id("job", job_id))
        makers = [job, *family_of(connection, job).shown]
        found = [
            artifact_body(artifact)
            for maker in makers
            for artifact in artifacts_of_job(connection, owner_id, maker.id)
        ]
    return json_answer(ArtifactList(items=found))


def _look(
    request: Request, owner_id: str, job_id: str, connection: Connection
) -> tuple[Response, JobVersion]:
    """A job's answer, and the version it is of."""
    # A poll that knows the answer costs one query of numbers, not the whole job.
    if IF_NONE_MATCH in request.headers:
        seen = find_version(connection, owner_id, job_id)
        place = waiting_place(connection, seen)
        if is_known(request, job_etag(seen, place)):
            return not_modified(_poll_headers(seen, place)), seen
    job = find_job(connection, owner_id, job_id)
    family = family_of(connection, job)
    is_whole = KINDS[job.kind].shows_all_jobs
    seen = version_of(job, family) if is_whole else find_version(connection, owner_id, job_id)
    shown = whole_job_body(connection, job, family)
    return json_answer(shown, headers=_poll_headers(seen, shown.place_in_queue)), seen


def _poll_headers(seen: JobVersion, place: int | None) -> dict[str, str]:
    headers = {"ETag": job_etag(seen, place), "Cache-Control": "no-cache"}
    return headers | retry_after(seen)
