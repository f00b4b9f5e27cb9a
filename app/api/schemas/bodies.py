"""What all bodies share: they are complete when they are made, and write times in one form."""

from datetime import datetime
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, PlainSerializer, WithJsonSchema
from typing_extensions import TypeAliasType

from app.api.http.responses import rfc3339
from app.shared.store import job_states
from app.shared.store.kinds import Kind
from ddcal_core.specs.results import Resource

Time = Annotated[
    datetime,
    PlainSerializer(rfc3339, when_used="json"),
    WithJsonSchema({"type": "string", "format": "date-time"}, mode="serialization"),
]
"""An aware time, written as RFC 3339 in UTC with milliseconds."""

# Named, so that the document has each once and generated clients have one type.
JobKind = TypeAliasType(
    "JobKind",
    Annotated[
        Kind,
        Field(
            description="What a job computes; an intake is of an upload, an export of a download."
        ),
    ],
)
JobState = TypeAliasType(
    "JobState",
    Annotated[job_states.JobState, Field(description="Nothing leaves the last four.")],
)
ResourceName = TypeAliasType(
    "ResourceName", Annotated[Resource, Field(description="What a result is.")]
)


class Body(BaseModel):
    """An answer's body, complete when it is made."""

    model_config = ConfigDict(frozen=True)
