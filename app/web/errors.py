"""What goes wrong on a page is told on a page; to programs it is told as a problem."""

from starlette.requests import Request
from starlette.responses import Response

from app.api.http.errors import Problem, answer_problem, problem_of
from app.web.rendering import page

API_PATH = "/v1/"


async def answer_error(request: Request, error: Exception) -> Response:
    """A page for who reads pages, a problem for all others; FastAPI's handler for both."""
    return problem_page(request, problem_of(error)) or await answer_problem(request, error)


def problem_page(request: Request, problem: Problem) -> Response | None:
    """The page of a problem; None for programs, which are told it as JSON."""
    is_page = not request.url.path.startswith(API_PATH)
    if not is_page or "text/html" not in request.headers.get("accept", ""):
        return None
    values = {"problem": problem, "request_id": request.state.request_id}
    return page(
        request,
        request.app.state.service,
        "error.html",
        values,
        status=problem.status,
        headers=problem.headers,
    )
