"""Conversations about jobs: submitting, watching, what came of them."""

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

import httpx

from ddcal.conversations import Manners, all_items, answered, document
from ddcal.errors import JobFailedError, JobNotDoneError, NotFoundError, WaitTimeoutError
from ddcal.records import (
    PARTIAL,
    RESOURCES,
    SUCCEEDED,
    Artifact,
    JobRecord,
    NamedStudyRecord,
    PlanRecord,
    ResultRecord,
)
from ddcal.report import Report
from ddcal.steps import Ask, Emit, Pause, Steps

JSON_TYPE = "application/json"
EVENTS_AT_ONCE = 1000
_WATCH_WAIT = 30
_WATCH_PAUSE = 0.3


def submission(request: str | bytes | Mapping[str, Any] | None, fields: Mapping[str, Any]) -> bytes:
    """The body of a submission: a request with fields added, a kind with its params, or a document.

    Args:
        request: the whole request; or its kind, the fields of its params then being keywords; or
            the JSON document itself, which goes as it is.
        fields: of the request; beside a kind, those that are not of the request are its params.
    """
    if isinstance(request, bytes):
        if fields:
            raise TypeError(
                f"a document goes as it is: wanted no keywords, got {', '.join(fields)}"
            )
        return request
    if isinstance(request, Mapping):
        return json.dumps({**request, **fields}).encode()
    if request is None:
        return json.dumps(dict(fields)).encode()
    beside = {name: value for name, value in fields.items() if name in REQUEST_FIELDS}
    params = {name: value for name, value in fields.items() if name not in REQUEST_FIELDS}
    params = {**beside.pop("params", {}), **params}
    return json.dumps({"kind": request, "params": params, **beside}).encode()


REQUEST_FIELDS = frozenset(
    {
        *("params", "name", "tags", "notes", "priority", "reuse"),
        *("start_at", "expires_at", "timeout_seconds", "stall_seconds"),
    }
)
"""What a submission says beside the fields of its params."""


def planned(content: bytes, manners: Manners) -> Steps[PlanRecord]:
    """What a submission would do."""
    headers = {"Content-Type": JSON_TYPE}
    ask = Ask("POST", "/v1/plans", content=content, headers=headers)
    body = yield from document(ask, manners)
    return PlanRecord.model_validate(body)


def named_studies(manners: Manners) -> Steps[list[NamedStudyRecord]]:
    """The studies that have a name."""
    body = yield from document(Ask("GET", "/v1/named-studies"), manners)
    return [NamedStudyRecord.model_validate(one) for one in body["items"]]


def job_as_it_stands(job_id: str, manners: Manners) -> Steps[JobRecord]:
    """A job with all that is known of it."""
    body = yield from document(Ask("GET", f"/v1/jobs/{job_id}"), manners)
    return JobRecord.model_validate(body)


def submitted(content: bytes, manners: Manners) -> Steps[JobRecord]:
    """Submit a document; sent again under the same key if the connection breaks, it runs once."""
    ask = Ask("POST", "/v1/jobs", headers={"Content-Type": JSON_TYPE}, content=content)
    body = yield from document(ask, manners)
    return JobRecord.model_validate(body)


def compared(
    reports: Sequence[str], fields: Mapping[str, Any], manners: Manners
) -> Steps[JobRecord]:
    """Have results put side by side; the job that does it."""
    content = json.dumps({"reports": list(reports), **fields}).encode()
    ask = Ask("POST", "/v1/comparisons", headers={"Content-Type": JSON_TYPE}, content=content)
    body = yield from document(ask, manners)
    return JobRecord.model_validate(body)


def watched(job_id: str, timeout: float | None, manners: Manners) -> Steps[None]:
    """A job, emitted each time that it has changed, until it has ended.

    Raises:
        WaitTimeoutError: it has not ended within `timeout` seconds.
    """
    patient, etag = manners.patient(), ""
    deadline = None if timeout is None else manners.clock() + timeout
    while True:
        left = math.inf if deadline is None else deadline - manners.clock()
        if etag and left <= 0:
            raise WaitTimeoutError(f"{job_id} has not ended within {timeout:g} s; it goes on")
        job, etag = yield from _changed(job_id, etag, left, patient)
        if job is None:
            continue
        yield Emit(job)
        if job.is_done:
            return
        # Progress may change many times a second.
        yield Pause(_WATCH_PAUSE)


def _changed(
    job_id: str, etag: str, seconds: float, manners: Manners
) -> Steps[tuple[JobRecord | None, str]]:
    """A job that is another than its ETag says, and its ETag; the service holds the poll."""
    known, wait = {}, 0.0
    if etag:
        wait = max(math.floor(min(seconds, _WATCH_WAIT)), 1)
        known = {"If-None-Match": etag, "Prefer": f"wait={wait}"}
    ask = Ask("GET", f"/v1/jobs/{job_id}", headers=known, wait_seconds=wait)
    response = yield from answered(ask, manners)
    if response.status_code == httpx.codes.NOT_MODIFIED:
        return None, etag
    return JobRecord.model_validate(response.json()), response.headers.get("etag", "")


def events(job_id: str, after: int, manners: Manners) -> Steps[int]:
    """The events of a job after a number, emitted; gives the number of the last."""
    while True:
        query = {"after": after, "limit": EVENTS_AT_ONCE}
        page = yield from document(Ask("GET", f"/v1/jobs/{job_id}/events", query=query), manners)
        for item in page["items"]:
            yield Emit(item)
            after = item["seq"]
        if len(page["items"]) < EVENTS_AT_ONCE:
            return after


def events_as_they_come(job_id: str, manners: Manners) -> Steps[None]:
    """All events of a job, emitted, until it has ended."""
    after, etag = 0, ""
    while True:
        job, etag = yield from _changed(job_id, etag, math.inf, manners.patient())
        after = yield from events(job_id, after, manners)
        if job is not None and job.is_done:
            return


def all_events(job_id: str, manners: Manners) -> Steps[None]:
    """The events of a job so far, emitted."""
    yield from events(job_id, 0, manners)


def cancelled(job_id: str, manners: Manners) -> Steps[JobRecord]:
    """Ask a job to stop; the job as it is then."""
    body = yield from document(Ask("POST", f"/v1/jobs/{job_id}/cancel"), manners)
    return JobRecord.model_validate(body)


def retried(job_id: str, manners: Manners) -> Steps[JobRecord]:
    """Submit once more what a job that ended without success was to do; the new job."""
    body = yield from document(Ask("POST", f"/v1/jobs/{job_id}/retry"), manners)
    return JobRecord.model_validate(body)


def log(job_id: str, manners: Manners) -> Steps[str]:
    """What a job's trainer has written."""
    response = yield from answered(Ask("GET", f"/v1/jobs/{job_id}/log"), manners)
    return response.text


def require_success_of(job: JobRecord, manners: Manners) -> Steps[None]:
    """Nothing for a job that has succeeded, or a study of which some cells have.

    Raises:
        JobFailedError: it ended in another way; its text has the errors, of a pipeline its parts'.
        JobNotDoneError: it has not ended.
    """
    if job.state in (SUCCEEDED, PARTIAL):
        return
    if not job.is_done:
        raise JobNotDoneError(
            f"{job.id} is {job.state}: it has not ended yet (ddcal watch {job.id})"
        )
    reasons = _reasons(job)
    for child in job.children:
        if child.state == "failed":
            reasons += _reasons((yield from job_as_it_stands(child.id, manners)))
    raise JobFailedError(job.id, job.state, reasons)


def _reasons(job: JobRecord) -> list[str]:
    return [f"{job.role or job.kind}: {job.error}"] if job.error else []


def artifacts(job_id: str, manners: Manners) -> Steps[list[Artifact]]:
    """The files that a job, or of a pipeline its parts, have made."""
    found = yield from all_items(f"/v1/jobs/{job_id}/artifacts", {}, manners)
    return [Artifact.model_validate(one) for one in found]


def results(job_id: str, manners: Manners) -> Steps[list[ResultRecord]]:
    """What a job, or of a pipeline its parts, have made."""
    job = yield from job_as_it_stands(job_id, manners)
    found: list[ResultRecord] = []
    for link in job.results:
        found += [(yield from result(link.resource, link.id, manners))]
    return found


def result(resource: str, result_id: str, manners: Manners) -> Steps[ResultRecord]:
    """One result with its files."""
    body = yield from document(Ask("GET", f"/v1/{RESOURCES[resource]}/{result_id}"), manners)
    return ResultRecord.model_validate(body)


def report_of(job_id: str, manners: Manners) -> Steps[Report]:
    """What the report that a job has made says."""
    made = yield from report_result(job_id, manners)
    return Report.model_validate(made.details)


def report_result(job_id: str, manners: Manners) -> Steps[ResultRecord]:
    """The report that a job has made.

    Raises:
        JobNotDoneError: there is none yet.
        JobFailedError: there will be none.
        NotFoundError: jobs of its kind make none.
    """
    job = yield from job_as_it_stands(job_id, manners)
    reports = [link for link in job.results if link.resource == "report"]
    if not reports:
        yield from require_success_of(job, manners)
        raise NotFoundError(404, "no_report", f"{job_id} is of kind {job.kind}: it has no report")
    made: ResultRecord = yield from result("report", reports[-1].id, manners)
    return made


def result_to_read(job_id: str, manners: Manners) -> Steps[ResultRecord]:
    """The comparison that a job has made, else its report, which raises as `report_result` does."""
    job = yield from job_as_it_stands(job_id, manners)
    comparisons = [link.id for link in job.results if link.resource == "comparison"]
    if not comparisons:
        return (yield from report_result(job_id, manners))
    return (yield from result("comparison", comparisons[-1], manners))
