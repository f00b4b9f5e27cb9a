"""/healthz and /readyz: is the process alive, and can it do its work?"""

from fastapi import APIRouter
from fastapi.responses import Response

from app.api.answers import json_answer, problems
from app.api.dependencies import ServiceDep
from app.api.schemas import HealthBody
from app.shared.database import is_at_head
from app.shared.errors import UnavailableError

router = APIRouter(tags=["health"])


@router.get("/healthz", response_model=HealthBody, summary="Is the process alive?")
async def get_health() -> Response:
    """Answers as long as the process does; needs no key."""
    return json_answer(HealthBody(status="ok"))


@router.get(
    "/readyz", response_model=HealthBody, responses=problems(503), summary="Can it do its work?"
)
def get_readiness(service: ServiceDep) -> Response:
    """The database answers and has every migration; a broker that is down only delays jobs."""
    if not is_at_head(service.database):
        raise UnavailableError("not_migrated", "the database lacks migrations: run `ddcal migrate`")
    return json_answer(HealthBody(status="ok"))
