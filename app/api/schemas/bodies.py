"""What all bodies share: they are complete when they are made, and write times in one form."""

from datetime import datetime
from typing import Annotated

from pydantic import BaseModel, ConfigDict, PlainSerializer

from app.api.http.responses import rfc3339

Time = Annotated[datetime, PlainSerializer(rfc3339, when_used="json")]
"""An aware time, written as RFC 3339 in UTC with milliseconds."""


class Body(BaseModel):
    """An answer's body, complete when it is made."""

    model_config = ConfigDict(frozen=True)
