"""What lists of results can be asked for, and the page of one that answers it."""

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Field

from app.api.http.paging import page_position, page_token
from app.api.http.searching import ByMethod, OnDataset, PagedQuery, SearchQuery
from app.shared.store.catalog import NEWEST_FIRST, Order, Result, Wanted, list_results
from app.shared.store.database import Connection
from app.shared.store.kinds import RESOURCES
from ddcal_core.specs.fields import JOB_REFERENCE
from ddcal_core.specs.results import Resource

Sort = Literal["created_at", "accuracy", "-accuracy", "ece", "-ece"]
Share = Annotated[float | None, Field(ge=0, le=1)]
_PAGE = {"page_size", "page_token", "sort"}
_SEARCH = set(SearchQuery.model_fields) | _PAGE
_LEAST, _MOST = "min_accuracy", "max_ece"


class ResultListQuery(PagedQuery):
    """Which results a list shows."""

    job_id: str | None = Field(None, pattern=JOB_REFERENCE, description="Made by this job.")
    dataset: OnDataset = None

    def filters(self) -> dict[str, str | int]:
        """Wanted values, by column."""
        left_out = {*_SEARCH, _LEAST, _MOST}
        return self.model_dump(exclude_none=True, exclude=left_out)

    def order(self) -> Order:
        """How the list is sorted."""
        return NEWEST_FIRST

    def bounds(self) -> tuple[float | None, float | None]:
        """The least accuracy and the greatest error wanted."""
        return getattr(self, _LEAST, None), getattr(self, _MOST, None)


class MeasuredListQuery(ResultListQuery):
    """Which measured results a list shows, and in which order."""

    min_accuracy: Share = Field(None, description="At least this accuracy; not measured: left out.")
    sort: Sort | None = Field(
        None,
        description="`accuracy` or `ece` from the lowest on, with `-` from the highest on; what "
        "has none is left out. Default: newest first.",
    )

    def order(self) -> Order:
        """How the list is sorted."""
        column = (self.sort or "created_at").removeprefix("-")
        if column not in ("accuracy", "ece"):
            return NEWEST_FIRST
        is_rising = not str(self.sort).startswith("-")
        return Order(column="ece" if column == "ece" else "accuracy", is_rising=is_rising)


class SetListQuery(MeasuredListQuery):
    """Which distilled sets a list shows."""

    method: ByMethod = Field(None, description="By which it was distilled.", examples=["dm"])
    images_per_class: int | None = Field(
        None, ge=1, le=1_000, description="Asked for when it was distilled."
    )


class CalibratedListQuery(MeasuredListQuery):
    """Which models or reports a list shows."""

    max_ece: Share = Field(None, description="At most this error; not measured: left out.")


class CalibrationListQuery(CalibratedListQuery):
    """Which calibrations a list shows."""

    method: ByMethod = Field(None, description="By which it was fitted.", examples=["ts"])
    status: str | None = Field(
        None,
        max_length=30,
        pattern=r"^[a-z_]+$",
        description="`ok`, or why there is nothing to apply or not the best.",
        examples=["ok"],
    )


QUERIES: Mapping[Resource, type[ResultListQuery]] = {
    "distilled_set": SetListQuery,
    "model": CalibratedListQuery,
    "calibration": CalibrationListQuery,
    "report": CalibratedListQuery,
    "comparison": ResultListQuery,
    "expert_set": ResultListQuery,
}
"""What the list of each kind can be asked for."""


def found_results(
    connection: Connection,
    owner_id: str,
    resource: Resource,
    query: ResultListQuery,
    *,
    limit: int,
) -> tuple[list[Result], str | None]:
    """A page of results and the token of the next; None on the last page.

    Raises:
        MalformedRequestError: the query's token is none of ours, or belongs to another question.
    """
    asked = {**query.asked(), "collection": RESOURCES[resource].collection}
    order = query.order()
    found = list_results(
        connection,
        owner_id,
        resource,
        wanted=Wanted(filters=query.filters(), search=query.search(), bounds=query.bounds()),
        order=order,
        after=page_position(query.page_token, asked),
        limit=limit + 1,
    )
    shown = found[:limit]
    if len(found) == len(shown):
        return shown, None
    last = shown[-1]
    return shown, page_token(last.id, asked, order.column and last.columns[order.column])
