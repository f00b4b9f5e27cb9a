"""What goes wrong on a page is told on a page; to programs it is told as a problem."""

from starlette.requests import Request
from starlette.responses import Response

from app.api.http.errors import answer_problem, problem_of
from app.web.rendering import page

API_PATH = "/v1/"


async def answer_error(request: Request, error: Exception) -> Response:
    """A page for who reads pages, a problem for all others; FastAPI's handler for both."""
    is_page = not request.url.path.startswith(API_PATH)
    if not is_page or "text/html" not in request.headers.get("accept", ""):
        return await answer_problem(request, error)
    problem = problem_of(error)
    values = {"problem": problem, "request_id": request.state.request_id}
    return page(
        request,
        request.app.state.service,
        "error.html",
        values,
        status=problem.status,
        headers=problem.headers,
    )
