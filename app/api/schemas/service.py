"""Problems, health, readiness and version: what is about the service and not of one resource."""

from typing import Literal

from pydantic import Field

from app.api.schemas.bodies import Body


class FieldProblemBody(Body):
    """One field that cannot be."""

    pointer: str = Field(
        description="JSON pointer into the body; /query/NAME and /path/NAME for parameters.",
        examples=["/params/distill/mask/ratio"],
    )
    code: str = Field(examples=["out_of_range"])
    detail: str = Field(examples=["wanted less than 1, got 1.5"])


class ProblemBody(Body):
    """Why a request was not carried out (RFC 9457)."""

    type: str = Field(examples=["urn:ddcal:problem:invalid_request"])
    title: str
    status: int
    detail: str = Field(description="What was wanted and what was got.")
    instance: str
    code: str = Field(description="A stable word for programs.")
    request_id: str
    errors: list[FieldProblemBody]


class HealthBody(Body):
    """The service answers."""

    status: str = Field(examples=["ok"])


class CheckBody(Body):
    """One thing that the service needs, looked at."""

    name: str = Field(examples=["broker"])
    status: str = Field(description="ok, or a word for what is wrong.", examples=["ok"])
    detail: str


class ReadinessBody(Body):
    """The service takes jobs in."""

    status: Literal["ready", "degraded"] = Field(
        description="degraded: jobs are taken in and begin late; the checks say why."
    )
    checks: list[CheckBody]


class UnreadyBody(ProblemBody):
    """Why the service takes no job in: a problem with every check beside it."""

    readiness: Literal["unready"]
    checks: list[CheckBody]


class VersionBody(Body):
    """Which version answers."""

    version: str = Field(description="Of the installed package; PEP 440.")
