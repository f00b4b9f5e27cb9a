"""The OpenAPI document: FastAPI's own, with what our readers and errors add to it."""

from typing import Annotated, Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import Field, TypeAdapter
from pydantic.json_schema import JsonSchemaMode

from app.api.http.access import SESSION_COOKIE
from app.api.http.errors import PROBLEM_MEDIA_TYPE
from app.api.http.responses import PROBLEM_REF
from app.api.schemas.service import ProblemBody, UnreadyBody
from app.submission.description_fields import NewDescription, UploadDescription
from app.submission.requests import JobRequest

REF_TEMPLATE = "#/components/schemas/{model}"
DESCRIPTION = """Distills image data sets, trains networks on them, calibrates their confidence and
reports what came of it. A job is submitted, answered with 202, and followed at its `Location`.
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
    request = Annotated[JobRequest, Field(discriminator="kind")]
    schemas |= _schemas("JobRequest", TypeAdapter(request), mode="validation")
    for change in (NewDescription, UploadDescription):
        schemas |= _schemas(change.__name__, TypeAdapter(change), mode="validation")
    # FastAPI's own bodies of a 422, which ours are not.
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    for operations in document["paths"].values():
        for operation in operations.values():
            _describe_problems(operation["responses"])
    if needs_key:
        document["components"]["securitySchemes"] = SECURITY_SCHEMES
        document["security"] = [{name: []} for name in SECURITY_SCHEMES]
        document["paths"]["/healthz"]["get"]["security"] = []
    return document


def _schemas(name: str, adapter: TypeAdapter[Any], *, mode: JsonSchemaMode) -> dict[str, Any]:
    schema = adapter.json_schema(ref_template=REF_TEMPLATE, mode=mode)
    return {**schema.pop("$defs", {}), name: schema}


def _describe_problems(responses: dict[str, Any]) -> None:
    """Put problems where FastAPI describes its own 422, and for all that is not listed."""
    content = {PROBLEM_MEDIA_TYPE: {"schema": PROBLEM_REF}}
    if "422" in responses:
        responses["422"] = {"description": "A parameter or field cannot be.", "content": content}
    responses["default"] = {"description": "Any other refusal.", "content": content}
