"""What every list can be searched for, and the change of what is said of a thing."""

from collections.abc import Callable
from typing import Annotated, Any, TypeVar

from fastapi import Request
from fastapi.concurrency import run_in_threadpool
from pydantic import BaseModel, ConfigDict, Field

from app.api.http.dependencies import Service
from app.api.http.paging import DEFAULT_PAGE_SIZE, MAX_PAGE_SIZE
from app.api.http.request_bodies import json_bytes, read_json, validated
from app.shared.store.database import Connection
from app.shared.store.descriptions import MAX_TAG_VALUE, MAX_TAGS, TAG_KEY, Search
from app.submission.description_fields import UploadDescription
from app.submission.requests import Time

_VALUE = rf"[^\x00-\x1f\x7f]{{1,{MAX_TAG_VALUE}}}"
TagOf = Annotated[str, Field(pattern=rf"^{TAG_KEY}:{_VALUE}$")]
WantedTag = Annotated[str, Field(pattern=rf"^{TAG_KEY}(:{_VALUE})?$")]
# Filters that several lists have.
OnDataset = Annotated[
    str | None,
    Field(
        max_length=64,
        pattern=r"^[A-Za-z0-9_.-]+$",
        description="About the data set or logits of this name.",
    ),
]
ByMethod = Annotated[str | None, Field(max_length=20, pattern=r"^[a-z0-9_]+$")]
T = TypeVar("T")
DescriptionT = TypeVar("DescriptionT", bound=UploadDescription)


class SearchQuery(BaseModel):
    """What a list is searched for."""

    model_config = ConfigDict(extra="forbid")

    q: str | None = Field(
        None,
        min_length=1,
        max_length=200,
        description="Words that name or notes have to have, all of them, whole or as the beginning "
        "of one, in any case; one like `job_01` is the beginning of the id.",
    )
    tag: list[WantedTag] = Field(
        [],
        max_length=MAX_TAGS,
        description="`KEY:VALUE`, or `KEY` for any value; several times: all of them.",
        examples=[["env:prod"]],
    )
    created_after: Time | None = Field(None, description="No older ones (RFC 3339).")
    created_before: Time | None = Field(None, description="Only older ones (RFC 3339).")

    def search(self) -> Search:
        """The part that is the same for every list."""
        return Search(
            text=self.q,
            tags=tuple(self.tag),
            created_after=self.created_after,
            created_before=self.created_before,
        )

    def asked(self) -> dict[str, Any]:
        """All that is asked for but the page: what a page's token is bound to."""
        return self.model_dump(mode="json", exclude_none=True, exclude={"page_size", "page_token"})


class PagedQuery(SearchQuery):
    """A search of a list that is given a page at a time."""

    page_size: int = Field(
        DEFAULT_PAGE_SIZE, ge=1, le=MAX_PAGE_SIZE, description="How many at most."
    )
    page_token: str | None = Field(
        None,
        max_length=300,
        description="`next_page_token` of the page before, asked with the same filters.",
    )


def change_body(model: type[DescriptionT]) -> dict[str, Any]:
    """The OpenAPI of a change's body."""
    schema = {"$ref": f"#/components/schemas/{model.__name__}"}
    example = {"tags": {"env": "prod", "draft": None}, "notes": "the one for the paper"}
    content = {"application/json": {"schema": schema, "example": example}}
    return {"requestBody": {"required": True, "content": content}}


async def asked_change(request: Request, model: type[DescriptionT]) -> dict[str, Any]:
    """What a request changes, by field: what it leaves out is not there, null stands for none.

    Raises:
        MalformedRequestError, UnsupportedTypeError, TooLargeError: it is no JSON.
        InvalidRequestError: fields are wrong or unknown.
    """
    change = validated(model, read_json(await json_bytes(request)))
    return change.model_dump(exclude_unset=True)


async def written(service: Service, change: Callable[[Connection], T]) -> T:
    """What a change gives, in a transaction of its own: of several, each would lock a row."""

    def write() -> T:
        with service.database.write() as connection:
            return change(connection)

    return await run_in_threadpool(write)
