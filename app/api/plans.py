"""/v1/plans: what a submission would do, told beforehand; nothing is written."""

from fastapi import APIRouter
from fastapi import Request as HttpRequest
from fastapi.responses import Response

from app.api.http.dependencies import current_owner, service_of
from app.api.http.request_bodies import json_bytes, read_json
from app.api.http.responses import json_answer, problems
from app.api.job_submission import SUBMISSION_BODY, read_job_request
from app.api.schemas.studies import PlanBody, plan_body
from app.shared.store.database import Connection
from app.submission.plan import plan_of

router = APIRouter(prefix="/v1/plans", tags=["jobs"])


@router.post(
    "",
    response_model=PlanBody,
    responses=problems(400, 413, 415, 422),
    openapi_extra={"requestBody": SUBMISSION_BODY["requestBody"]},
    summary="See what a submission would do",
)
async def plan_job(request: HttpRequest) -> Response:
    """Check a submission as `POST /v1/jobs` does, and write nothing.

    Of a study it tells every cell that would be refused, and counts the jobs of the others.
    """
    service, owner_id = await service_of(request), await current_owner(request)
    body = await json_bytes(request)

    def look(connection: Connection) -> Response:
        document = read_json(body)
        planned = plan_of(connection, service.settings, owner_id, read_job_request(document))
        return json_answer(plan_body(planned))

    return await service.reads.run(lambda: look)
