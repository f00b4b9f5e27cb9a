"""/healthz, /readyz and /version: is the process alive, can it do its work, and which one is it?"""

from collections.abc import Callable

import anyio
from fastapi import APIRouter, Request
from fastapi.responses import Response

from app.api.http.dependencies import ServiceDep
from app.api.http.errors import RETRY_AFTER_SECONDS, Problem, problem_response
from app.api.http.responses import json_answer, problems
from app.api.schemas.service import CheckBody, HealthBody, ReadinessBody, VersionBody
from app.shared.errors import FieldProblem, UnavailableError
from app.shared.upkeep.readiness import ANSWER_SECONDS, Check, checks, unanswered

router = APIRouter(tags=["health"])


@router.get("/healthz", response_model=HealthBody, summary="Is the process alive?")
async def get_health() -> Response:
    """Answers as long as the process does; needs no key."""
    return json_answer(HealthBody(status="ok"))


@router.get(
    "/readyz", response_model=ReadinessBody, responses=problems(503), summary="Can it do its work?"
)
async def get_readiness(request: Request, service: ServiceDep) -> Response:
    """Each check with what it found; 503 where one that is needed fails.

    Without the broker the service is `degraded`: it takes jobs in, and they begin late.
    """
    found: dict[str, Check] = {}

    async def ask(name: str, question: Callable[[], Check]) -> None:
        found[name] = unanswered(name)
        with anyio.move_on_after(ANSWER_SECONDS):
            # A question that hangs keeps its thread, but not the answer.
            found[name] = await anyio.to_thread.run_sync(question, abandon_on_cancel=True)

    async with anyio.create_task_group() as group:
        for name, question in checks(service.database, service.settings).items():
            group.start_soon(ask, name, question)
    wrong = [check for check in found.values() if not check.is_ok]
    if any(check.is_needed for check in wrong):
        problem = _not_ready(sorted(wrong, key=lambda check: not check.is_needed))
        request_id = request.state.request_id
        return problem_response(problem, path=request.url.path, request_id=request_id)
    shown = [CheckBody(name=one.name, status=one.code, detail=one.detail) for one in found.values()]
    return json_answer(ReadinessBody(status="degraded" if wrong else "ok", checks=shown))


@router.get("/version", response_model=VersionBody, summary="Which version is it?")
async def get_version(request: Request) -> Response:
    """The version of the service."""
    return json_answer(VersionBody(version=request.app.version))


def _not_ready(wrong: list[Check]) -> Problem:
    """The problem that names all that is wrong, what is needed first."""
    return Problem(
        UnavailableError.status,
        wrong[0].code,
        UnavailableError.title,
        "; ".join(f"{check.name}: {check.detail}" for check in wrong),
        errors=tuple(
            FieldProblem(f"/checks/{check.name}", check.code, check.detail) for check in wrong
        ),
        headers={"Retry-After": str(RETRY_AFTER_SECONDS)},
    )
