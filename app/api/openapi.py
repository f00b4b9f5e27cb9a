"""The OpenAPI document: FastAPI's own, with what our readers and errors add to it."""

from typing import Annotated, Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import Field, TypeAdapter
from pydantic.json_schema import JsonSchemaMode

from app.api.http.access import SESSION_COOKIE
from app.api.http.errors import PROBLEM_MEDIA_TYPE
from app.api.http.responses import PROBLEM_REF
from app.api.schemas.job_kinds import AnyJob
from app.api.schemas.service import ProblemBody, UnreadyBody
from app.submission.comparisons import ComparisonRequest
from app.submission.description_fields import NewDescription, UploadDescription
from app.submission.requests import JobRequest

REF_TEMPLATE = "#/components/schemas/{model}"
DESCRIPTION = """Distills image data sets, trains networks on them, calibrates their confidence and
reports what came of it.

What leaves work to do (a submission, a retry, an upload, the cancelling of a job that runs) is
answered with 202 and what there is so far; the job that does the work is followed at its address,
which `Location` gives for all that is new. 200 and 204 say that it is done. Nothing is answered
with 201: nothing that is made here is complete at once.

Every refusal is `application/problem+json` with a `code`, and a pointer to each field."""
SECURITY_SCHEMES = {
    "key": {"type": "http", "scheme": "bearer", "description": "The service's API key."},
    "password": {
        "type": "http",
        "scheme": "basic",
        "description": "Any user name, and the API key as the password.",
    },
    "session": {
        "type": "apiKey",
        "in": "cookie",
        "name": SESSION_COOKIE,
        "description": "Of a browser that has logged in at `/login`; its name ends in `-PORT` "
        "where the address has a port. A change comes with `X-CSRF-Token` as well.",
    },
}
PATH_PARAMETERS = {
    "job_id": "The `id` of a job.",
    "result_id": "The `id` of a result of this kind.",
    "artifact_id": "The `id` of a file.",
    "name": "Its name, as the list has it.",
    "step": "Of a picture, as the list has it.",
}


def describe(app: FastAPI, *, needs_key: bool) -> dict[str, Any]:
    """The whole document.

    Args:
        app: the application, complete with its routes.
        needs_key: whether requests need the service's key.
    """
    document = get_openapi(
        title=app.title, version=app.version, description=DESCRIPTION, routes=app.routes
    )
    schemas = document.setdefault("components", {}).setdefault("schemas", {})
    schemas |= _schemas("ProblemBody", TypeAdapter(ProblemBody), mode="serialization")
    schemas |= _schemas("UnreadyBody", TypeAdapter(UnreadyBody), mode="serialization")
    told = "A job to submit; `kind` tells what it is, and what its params are."
    request = Annotated[JobRequest, Field(discriminator="kind", description=told)]
    schemas |= _schemas("JobBody", TypeAdapter(AnyJob), mode="serialization")
    schemas |= _schemas("JobRequest", TypeAdapter(request), mode="validation")
    for body in (NewDescription, UploadDescription, ComparisonRequest):
        schemas |= _schemas(body.__name__, TypeAdapter(body), mode="validation")
    # FastAPI's own bodies of a 422, which ours are not.
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    for schema in schemas.values():
        for name, told in schema.get("properties", {}).items():
            _complete_property(name, told, schema)
    for operations in document["paths"].values():
        for operation in operations.values():
            _describe_problems(operation["responses"])
            for parameter in operation.get("parameters", ()):
                if parameter["in"] == "path":
                    parameter["description"] = PATH_PARAMETERS[parameter["name"]]
    if needs_key:
        document["components"]["securitySchemes"] = SECURITY_SCHEMES
        document["security"] = [{name: []} for name in SECURITY_SCHEMES]
        document["paths"]["/healthz"]["get"]["security"] = []
    return document


def _schemas(name: str, adapter: TypeAdapter[Any], *, mode: JsonSchemaMode) -> dict[str, Any]:
    schema = adapter.json_schema(ref_template=REF_TEMPLATE, mode=mode)
    return {**schema.pop("$defs", {}), name: schema}


def _complete_property(name: str, told: dict[str, Any], schema: dict[str, Any]) -> None:
    """Make a property what generators of clients take: told in words, and by its word required."""
    # They make no object or list of a default; descriptions say what it is.
    if isinstance(told.get("default"), dict | list):
        del told["default"]
    if "const" in told:
        told.setdefault("description", f"Always `{told['const']}`.")
        told.pop("default", None)
        schema["required"] = sorted({name, *schema.get("required", ())})


def _describe_problems(responses: dict[str, Any]) -> None:
    """Put problems where FastAPI describes its own 422, and for all that is not listed."""
    content = {PROBLEM_MEDIA_TYPE: {"schema": PROBLEM_REF}}
    if "422" in responses:
        responses["422"] = {"description": "Invalid parameter or field.", "content": content}
    responses["default"] = {"description": "Any other refusal.", "content": content}
