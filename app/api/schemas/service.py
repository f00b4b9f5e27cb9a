"""Problems, health, readiness and version: what is about the service and not of one resource."""

from typing import Literal

from pydantic import Field

from app.api.schemas.bodies import Body


class FieldProblemBody(Body):
    """One invalid field."""

    pointer: str = Field(
        description="JSON pointer into the body; /query/NAME and /path/NAME for parameters.",
        examples=["/params/distill/mask/ratio"],
    )
    code: str = Field(description="A stable word for programs.", examples=["out_of_range"])
    detail: str = Field(
        description="What was wanted and what was got.", examples=["wanted less than 1, got 1.5"]
    )


class ProblemBody(Body):
    """Why a request was not carried out (RFC 9457)."""

    type: str = Field(
        description="The code, as a URN.", examples=["urn:ddcal:problem:invalid_request"]
    )
    title: str = Field(description="The kind of problem, in a few words.")
    status: int = Field(description="The HTTP status.")
    detail: str = Field(description="What was wanted and what was got.")
    instance: str = Field(description="The path that was asked.")
    code: str = Field(description="A stable word for programs.")
    request_id: str = Field(description="Of the request, as X-Request-ID and the logs have it.")
    errors: list[FieldProblemBody] = Field(
        description="Each invalid field; empty where no field is to blame."
    )


class HealthBody(Body):
    """The service answers."""

    status: str = Field(description="ok.", examples=["ok"])


class CheckBody(Body):
    """One thing that the service needs, looked at."""

    name: str = Field(description="What was looked at.", examples=["broker"])
    status: str = Field(description="ok, or a word for what is wrong.", examples=["ok"])
    detail: str = Field(description="What was found, in a sentence.")


class ReadinessBody(Body):
    """The service takes jobs in."""

    status: Literal["ready", "degraded"] = Field(
        description="degraded: jobs are taken in and begin late; the checks say why."
    )
    checks: list[CheckBody] = Field(description="Everything looked at.")


class UnreadyBody(ProblemBody):
    """Why the service takes no job in: a problem with every check beside it."""

    readiness: Literal["unready"] = Field(description="No job is taken in.")
    checks: list[CheckBody] = Field(description="Everything looked at.")


class VersionBody(Body):
    """Which version answers."""

    version: str = Field(description="Of the installed package; PEP 440.")
