"""/v1/RESULTS/ID/content: a result in the format asked for, made when it is first wanted."""

from collections.abc import Mapping
from dataclasses import dataclass
from time import monotonic
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import FileResponse, JSONResponse, Response

from app.api.artifacts import CONTENT_ANSWERS, answer_file
from app.api.http.dependencies import OwnerDep, Service, ServiceDep, checked_id
from app.api.http.preferences import MAX_WAIT_SECONDS, preferred_wait
from app.api.http.responses import json_answer, problems
from app.api.job_views import retry_after, version_of, whole_job_body
from app.api.schemas.jobs import JobBody
from app.api.schemas.result_kinds import report_schema
from app.shared.engine.deletion import delete_files
from app.shared.engine.exports import (
    export_params,
    exported_file,
    find_export,
    find_or_ask_for_export,
)
from app.shared.errors import ConflictError, DamagedFileError, FieldProblem, InvalidRequestError
from app.shared.store.catalog import Artifact, Result, artifacts_of_resources, find_result
from app.shared.store.database import Connection
from app.shared.store.disk import require_room
from app.shared.store.job_queries import find_job
from app.shared.store.job_records import Job
from app.shared.store.kinds import RESOURCES
from app.submission.export_checks import why_not_exported
from ddcal_core.specs.exports import FORMATS, ExportFormat
from ddcal_core.specs.formats.comparison_formats import ComparisonFormat
from ddcal_core.specs.formats.expert_formats import ExpertFormat
from ddcal_core.specs.formats.format_facts import FormatFacts
from ddcal_core.specs.formats.model_formats import ModelFormat
from ddcal_core.specs.formats.report_formats import ReportFormat
from ddcal_core.specs.formats.set_formats import SetFormat
from ddcal_core.specs.results import Resource

router = APIRouter(prefix="/v1", tags=["results"])

DEFAULT_WAIT_SECONDS = 20
# What a format holds may change with the next report, and the newest is made anew if it is damaged.
REVALIDATED = "private, no-cache"
PREFER_WAIT: dict[str, Any] = {
    "name": "Prefer",
    "in": "header",
    "required": False,
    "description": "`wait=N`: wait up to N seconds for a file that has still to be made, at most "
    f"{MAX_WAIT_SECONDS}; default {DEFAULT_WAIT_SECONDS}. `wait=0` does not wait.",
    "schema": {"type": "string", "examples": ["wait=30"]},
}
ANSWERS: dict[int | str, dict[str, Any]] = {
    200: {"description": "The file.", "content": {"application/octet-stream": {}}},
    202: {"description": "It is being made by this job.", "model": JobBody},
    **CONTENT_ANSWERS,
    **problems(409, 422, 503, 507),
}


DOWNLOAD: dict[str, Any] = {
    "response_class": FileResponse,
    "responses": ANSWERS,
    "openapi_extra": {"parameters": [PREFER_WAIT]},
}


def _format_of(resource: Resource) -> Any:  # noqa: ANN401  what FastAPI's Query is
    told = [f"`{word}`: {facts.description}" for word, facts in FORMATS[resource].items()]
    return Query(alias="format", description="\n\n".join(told))


@router.get(
    "/expert-sets/{result_id}/content",
    summary="Download a set of experts in a format",
    response_class=FileResponse,
    responses={status: said for status, said in ANSWERS.items() if status != 202},
)
async def download_expert_set(
    request: Request,
    service: ServiceDep,
    owner_id: OwnerDep,
    result_id: str,
    word: Annotated[ExpertFormat, _format_of("expert_set")],
) -> Response:
    """One file, whole or a Range, as its job has written it."""
    return await _answer(request, _asked(service, owner_id, "expert_set", result_id, word))


@router.get(
    "/distilled-sets/{result_id}/content",
    summary="Download a distilled set in a format",
    **DOWNLOAD,
)
async def download_distilled_set(
    request: Request,
    service: ServiceDep,
    owner_id: OwnerDep,
    result_id: str,
    word: Annotated[SetFormat, _format_of("distilled_set")],
) -> Response:
    """One file, whole or a Range; what is not there yet is made once, and kept.

    202 where that takes longer than the request waits: ask again, or follow the job.
    """
    return await _answer(request, _asked(service, owner_id, "distilled_set", result_id, word))


@router.get(
    "/models/{result_id}/content",
    summary="Download a model in a format",
    **DOWNLOAD,
)
async def download_model(
    request: Request,
    service: ServiceDep,
    owner_id: OwnerDep,
    result_id: str,
    word: Annotated[ModelFormat, _format_of("model")],
) -> Response:
    """One file, whole or a Range; what is not there yet is made once, and kept.

    202 where that takes longer than the request waits: ask again, or follow the job.
    """
    return await _answer(request, _asked(service, owner_id, "model", result_id, word))


@router.get(
    "/calibrations/{result_id}/content",
    summary="Download a calibrated model in a format",
    **DOWNLOAD,
)
async def download_calibration(
    request: Request,
    service: ServiceDep,
    owner_id: OwnerDep,
    result_id: str,
    word: Annotated[ModelFormat, _format_of("calibration")],
) -> Response:
    """One file, whole or a Range; what is not there yet is made once, and kept.

    202 where that takes longer than the request waits: ask again, or follow the job.
    """
    return await _answer(request, _asked(service, owner_id, "calibration", result_id, word))


@router.get(
    "/reports/{result_id}/content",
    summary="Download a report in a format",
    **DOWNLOAD,
)
async def download_report(
    request: Request,
    service: ServiceDep,
    owner_id: OwnerDep,
    result_id: str,
    word: Annotated[ReportFormat, _format_of("report")],
) -> Response:
    """One file, whole or a Range; what is not there yet is made once, and kept.

    202 where that takes longer than the request waits: ask again, or follow the job.
    """
    return await _answer(request, _asked(service, owner_id, "report", result_id, word))


@router.get(
    "/comparisons/{result_id}/content",
    summary="Download a comparison in a format",
    **DOWNLOAD,
)
async def download_comparison(
    request: Request,
    service: ServiceDep,
    owner_id: OwnerDep,
    result_id: str,
    word: Annotated[ComparisonFormat, _format_of("comparison")],
) -> Response:
    """One file, whole or a Range; what is not there yet is made once, and kept.

    202 where that takes longer than the request waits: ask again, or follow the job.
    """
    return await _answer(request, _asked(service, owner_id, "comparison", result_id, word))


class SchemaResponse(JSONResponse):
    """A JSON Schema."""

    media_type = "application/schema+json"


@router.get(
    "/report-schema",
    response_class=SchemaResponse,
    responses={200: {"description": "A JSON Schema, draft 2020-12."}},
    summary="Look at the schema of report.json",
)
def get_report_schema() -> Response:
    """What each field of a report's `json` is, for programs that read or check one."""
    return SchemaResponse(report_schema())


@dataclass(frozen=True, kw_only=True)
class Asked:
    """One result in one format."""

    service: Service
    owner_id: str
    resource: Resource
    result_id: str
    word: ExportFormat

    @property
    def facts(self) -> FormatFacts:
        """What is known of the format."""
        return FORMATS[self.resource][self.word]


def _asked(
    service: Service, owner_id: str, resource: Resource, result_id: str, word: ExportFormat
) -> Asked:
    return Asked(
        service=service,
        owner_id=owner_id,
        resource=resource,
        result_id=checked_id(RESOURCES[resource].prefix, result_id),
        word=word,
    )


async def _answer(request: Request, asked: Asked) -> Response:
    """The file, or the job that makes it."""
    preferred = preferred_wait(request)
    deadline = monotonic() + (DEFAULT_WAIT_SECONDS if preferred is None else preferred)
    found = await _found(request, asked, deadline)
    if isinstance(found, Artifact):
        try:
            answer = await run_in_threadpool(_file, request, asked, found)
        except DamagedFileError:
            # The result in another form is made anew; its own file is found again, and refused.
            found = await _found(request, asked, deadline, damaged=found.job_id)
            if isinstance(found, Job):
                answer = await run_in_threadpool(_job_at_work, asked, found)
            else:
                answer = await run_in_threadpool(_file, request, asked, found)
    else:
        answer = await run_in_threadpool(_job_at_work, asked, found)
    if preferred is not None:
        answer.headers["Preference-Applied"] = f"wait={preferred}"
    return answer


async def _found(
    request: Request, asked: Asked, deadline: float, damaged: str | None = None
) -> Artifact | Job:
    """The file, once it is there; by the deadline the job that makes it.

    Raises:
        ConflictError: it has failed to.
    """
    request_id = request.state.request_id
    found = await run_in_threadpool(find_or_begin, asked, request_id, damaged)
    reader = asked.service.reader
    while isinstance(found, Job) and not found.is_terminal:
        left = deadline - monotonic()
        if left <= 0:
            return found
        reader.require_room()
        await reader.wait_for_change(version_of(found), seconds=left)
        found = await run_in_threadpool(_look_again, asked, found.id)
    if isinstance(found, Job):
        raise _not_made(asked, found)
    return found


def find_or_begin(asked: Asked, request_id: str, damaged: str | None = None) -> Artifact | Job:
    """The file that was asked for, or the job that makes it: begun now, where there is none.

    Args:
        asked: which.
        request_id: of the request that asks.
        damaged: the job whose file is damaged, and is to be made again.

    Raises:
        NotFoundError: there is no such result.
        InvalidRequestError: it cannot be had in this format; says what to take instead.
        NoRoomError: the disk is full.
    """
    service, owner_id = asked.service, asked.owner_id
    with service.database.read() as connection:
        result = find_result(connection, owner_id, asked.resource, asked.result_id)
        own = _own_files(connection, owner_id, result)
        _require_possible(asked, result, own)
        if asked.facts.file_name in own:
            return own[asked.facts.file_name]
        params = export_params(connection, owner_id, result, asked.word, asked.facts)
        export = find_export(connection, owner_id, result, params)
        if export is not None and export.id != damaged:
            return exported_file(connection, owner_id, export) or export
    require_room(service.settings)
    with service.database.write() as connection:
        export, replaced = find_or_ask_for_export(
            connection,
            owner_id,
            result,
            params,
            settings=service.settings,
            request_id=request_id,
            damaged=damaged,
        )
        found = exported_file(connection, owner_id, export) or export
    for job_id in replaced:
        delete_files(service.settings, job_id)
    return found


def _look_again(asked: Asked, job_id: str) -> Artifact | Job:
    with asked.service.database.read() as connection:
        export = find_job(connection, asked.owner_id, job_id)
        return exported_file(connection, asked.owner_id, export) or export


def _own_files(connection: Connection, owner_id: str, result: Result) -> dict[str, Artifact]:
    """The files that the result's own job has written, by name."""
    files = artifacts_of_resources(connection, owner_id, [result.id])
    return {one.name: one for one in files if one.job_id == result.job_id}


def _require_possible(asked: Asked, result: Result, own: Mapping[str, Artifact]) -> None:
    """Refuse a format that cannot hold a result, before any work.

    Raises:
        InvalidRequestError: it cannot; says what is in the way, and what to take instead.
    """
    why = why_not_exported(result, asked.word, own)
    if why is not None:
        problem = FieldProblem("/query/format", "not_applicable", f"{asked.word}: {why}")
        raise InvalidRequestError("invalid_parameters", problem.detail, [problem])


def _file(request: Request, asked: Asked, file: Artifact) -> Response:
    return answer_file(request, asked.service, asked.owner_id, file, caching=REVALIDATED)


def _job_at_work(asked: Asked, export: Job) -> Response:
    with asked.service.database.read() as connection:
        body = whole_job_body(connection, export)
    headers = {"Location": f"/v1/jobs/{export.id}", "Cache-Control": "no-store"}
    return json_answer(body, status=202, headers={**headers, **retry_after(export)})


def _not_made(asked: Asked, export: Job) -> ConflictError:
    why = (export.error or {}).get("message", f"its job is {export.state}")
    detail = (
        f"{asked.result_id} could not be written as {asked.word}: {why}; delete {export.id} to "
        "have it tried again"
    )
    return ConflictError("export_failed", detail)
