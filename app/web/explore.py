"""/explore/ID: a report's networks under any temperature; the numbers are computed in the browser.

Reports from before logits were kept can be made again.
"""

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, Response

from app.api.http.dependencies import OwnerDep, ServiceDep, checked_id
from app.shared.store.catalog import artifacts_of_resources, find_result
from app.shared.store.job_queries import find_job
from app.shared.store.kinds import RESOURCES
from app.web.drafts import submitted
from app.web.rendering import page
from app.web.result_words import title_of

router = APIRouter(prefix="/explore", include_in_schema=False)

LOGITS, NUMBERS, PAGE = "test_logits.safetensors", "report.json", "report.html"
_PREFIX = RESOURCES["report"].prefix


@router.get("/{report_id}")
def get_explorer(
    request: Request, service: ServiceDep, owner_id: OwnerDep, report_id: str
) -> HTMLResponse:
    """The sliders, where the report keeps logits; else its own diagrams."""
    with service.database.read() as connection:
        report = find_result(connection, owner_id, "report", checked_id(_PREFIX, report_id))
        files = artifacts_of_resources(connection, owner_id, [report.id])
        job = find_job(connection, owner_id, report.job_id)
    addresses = {one.name: f"/v1/artifacts/{one.id}/content" for one in files}
    values = {
        "report": report,
        "title": title_of(report),
        "logits": addresses.get(LOGITS),
        "numbers": addresses.get(NUMBERS),
        "shown_page": addresses.get(PAGE),
        "is_repeatable": job.kind == "evaluate",
    }
    return page(request, service, "explore.html", values)


@router.post("/{report_id}")
def post_again(
    request: Request, service: ServiceDep, owner_id: OwnerDep, report_id: str
) -> Response:
    """Evaluate once more what a report is about, and lead to the job."""
    with service.database.read() as connection:
        report = find_result(connection, owner_id, "report", checked_id(_PREFIX, report_id))
        job = find_job(connection, owner_id, report.job_id)
    return submitted(request, service, owner_id, {"kind": job.kind, "params": job.params})
