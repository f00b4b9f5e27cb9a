"""/healthz, /readyz and /version: is the process alive, can it do its work, and which one is it?"""

from functools import partial

import anyio
from fastapi import APIRouter, Request
from fastapi.responses import Response

from app.api.http.dependencies import ServiceDep
from app.api.http.errors import RETRY_AFTER_SECONDS, Problem, problem_response
from app.api.http.responses import json_answer, problems
from app.api.schemas.service import CheckBody, HealthBody, ReadinessBody, VersionBody
from app.shared.errors import FieldProblem, UnavailableError
from app.shared.upkeep.readiness import (
    ANSWER_SECONDS,
    QUESTIONS,
    Check,
    Question,
    answered,
    readiness_of,
    unanswered,
)

router = APIRouter(tags=["health"])


@router.get("/healthz", response_model=HealthBody, summary="Is the process alive?")
async def get_health() -> Response:
    """Answers as long as the process does; needs no key."""
    return json_answer(HealthBody(status="ok"))


@router.get(
    "/readyz",
    response_model=ReadinessBody,
    responses=problems(503, body="UnreadyBody"),
    summary="Can it do its work?",
)
async def get_readiness(request: Request, service: ServiceDep) -> Response:
    """Each check with what it found; 503 where this process can take no job in.

    Without a broker, or without a worker for a queue with work, the service is `degraded`: it takes
    jobs in, and they begin late.
    """
    found: dict[str, Check] = {}

    async def ask(question: Question) -> None:
        found[question.name] = unanswered(question)
        with anyio.move_on_after(ANSWER_SECONDS):
            look = partial(question.ask, service.database, service.settings)
            # A question that hangs keeps its thread, but not the answer.
            finding = await anyio.to_thread.run_sync(look, abandon_on_cancel=True)
            found[question.name] = answered(question, finding)

    async with anyio.create_task_group() as group:
        for question in QUESTIONS:
            group.start_soon(ask, question)
    checks = [found[question.name] for question in QUESTIONS]
    readiness = readiness_of(checks)
    shown = [CheckBody(name=one.name, status=one.code, detail=one.detail) for one in checks]
    if readiness == "unready":
        request_id = request.state.request_id
        return problem_response(
            _not_ready(checks, shown), path=request.url.path, request_id=request_id
        )
    return json_answer(ReadinessBody(status=readiness, checks=shown))


@router.get("/version", response_model=VersionBody, summary="Which version is it?")
async def get_version(request: Request) -> Response:
    """The version of the service."""
    return json_answer(VersionBody(version=request.app.version))


def _not_ready(checks: list[Check], shown: list[CheckBody]) -> Problem:
    """The problem that names all that is wrong, what is needed first."""
    wrong = sorted(
        (check for check in checks if not check.is_ok), key=lambda check: not check.is_needed
    )
    return Problem(
        UnavailableError.status,
        wrong[0].code,
        UnavailableError.title,
        "; ".join(f"{check.name}: {check.detail}" for check in wrong),
        errors=tuple(
            FieldProblem(f"/checks/{check.name}", check.code, check.detail) for check in wrong
        ),
        headers={"Retry-After": str(RETRY_AFTER_SECONDS)},
        members={"readiness": "unready", "checks": [one.model_dump() for one in shown]},
    )
