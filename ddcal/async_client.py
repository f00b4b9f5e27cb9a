"""The client of a service for code that awaits; see `ddcal.client`."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx

from ddcal import jobs, uploading
from ddcal.async_handles import AsyncDataset, AsyncJob, AsyncResult
from ddcal.client import MAX_RETRIES, TIMEOUT_SECONDS, found_options
from ddcal.conversations import Manners, deleted, document, fetched, pages
from ddcal.records import (
    DatasetRecord,
    JobRecord,
    NamedStudyRecord,
    PlanRecord,
    ResultRecord,
)
from ddcal.steps import Ask
from ddcal.transport import AsyncTransport
from ddcal.uploading import DATASETS, LOGITS, SetSource, Source


class AsyncClient:
    """As `ddcal.Client`; what asks the service is awaited, lists are iterated over with async for.

    Args:
        url: of the service.
        api_key: its key.
        timeout: seconds to wait for a connection, and for each part of an answer.
        max_retries: how often a request is sent again.
        http: sends the requests instead of a client of our own.

    Attributes:
        url: of the service.

    Raises:
        NoServiceError: the URL cannot be read.
    """

    def __init__(
        self,
        url: str | None = None,
        *,
        api_key: str | None = None,
        timeout: float = TIMEOUT_SECONDS,
        max_retries: int = MAX_RETRIES,
        http: httpx.AsyncClient | None = None,
    ) -> None:
        if http is None:
            http = httpx.AsyncClient(**found_options(url, api_key, timeout))
        self.url = str(http.base_url).rstrip("/")
        self._to = AsyncTransport(http, Manners(self.url, max_retries))

    async def close(self) -> None:
        """Close its connections."""
        await self._to.http.aclose()

    async def __aenter__(self) -> Self:
        """Close it at the end."""
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close it."""
        await self.close()

    async def submit(
        self, request: str | bytes | Mapping[str, Any] | None = None, /, **fields: object
    ) -> AsyncJob:
        """As `Client.submit`."""
        content = jobs.submission(request, fields)
        return AsyncJob(self._to, await self._to.run(jobs.submitted(content, self._to.manners)))

    async def plan(
        self, request: str | bytes | Mapping[str, Any] | None = None, /, **fields: object
    ) -> PlanRecord:
        """As `Client.plan`."""
        content = jobs.submission(request, fields)
        return await self._to.run(jobs.planned(content, self._to.manners))

    async def named_studies(self) -> list[NamedStudyRecord]:
        """As `Client.named_studies`."""
        return await self._to.run(jobs.named_studies(self._to.manners))

    async def compare(self, reports: Sequence[str], **fields: object) -> AsyncJob:
        """As `Client.compare`."""
        steps = jobs.compared(reports, fields, self._to.manners)
        return AsyncJob(self._to, await self._to.run(steps))

    async def job(self, job_id: str) -> AsyncJob:
        """As `Client.job`."""
        steps = jobs.job_as_it_stands(job_id, self._to.manners)
        return AsyncJob(self._to, await self._to.run(steps))

    async def jobs(self, **filters: object) -> AsyncIterator[AsyncJob]:
        """As `Client.jobs`."""
        async for record in self._pages("/v1/jobs", filters):
            yield AsyncJob(self._to, JobRecord.model_validate(record))

    async def upload(
        self, name: str, source: Source, *, logits: bool = False, **options: object
    ) -> AsyncDataset:
        """As `Client.upload`."""
        context = uploading.packed(source)
        # A folder of many images takes seconds to pack.
        path = await asyncio.to_thread(context.__enter__)
        with contextlib.ExitStack() as stack:
            stack.push(context)
            collection = LOGITS if logits else uploading.collection_of(path)
            query = {"name": name, **options}
            steps = uploading.uploaded(path, collection, query, self._to.manners)
            return AsyncDataset(self._to, collection, await self._to.run(steps))

    async def upload_sets(self, name: str, source: SetSource, **options: object) -> AsyncJob:
        """As `Client.upload_sets`."""
        context = uploading.packed_sets(source)
        path = await asyncio.to_thread(context.__enter__)
        with contextlib.ExitStack() as stack:
            stack.push(context)
            steps = uploading.uploaded_sets(path, {"name": name, **options}, self._to.manners)
            return AsyncJob(self._to, await self._to.run(steps))

    async def upload_model(self, name: str, source: str | Path, **options: object) -> AsyncJob:
        """As `Client.upload_model`."""
        path, said = uploading.network_of(source)
        query = {"name": name, **said, **options}
        steps = uploading.uploaded_network(path, query, self._to.manners)
        return AsyncJob(self._to, await self._to.run(steps))

    async def dataset(self, name: str, *, logits: bool = False) -> AsyncDataset:
        """As `Client.dataset`."""
        collection = LOGITS if logits else DATASETS
        steps = uploading.dataset(collection, name, self._to.manners)
        return AsyncDataset(self._to, collection, await self._to.run(steps))

    def datasets(self, **filters: object) -> AsyncIterator[AsyncDataset]:
        """As `Client.datasets`."""
        return self._uploads(DATASETS, filters)

    def logits(self, **filters: object) -> AsyncIterator[AsyncDataset]:
        """As `Client.logits`."""
        return self._uploads(LOGITS, filters)

    def sets(self, **filters: object) -> AsyncIterator[AsyncResult]:
        """As `Client.sets`."""
        return self.results("distilled-sets", **filters)

    def models(self, **filters: object) -> AsyncIterator[AsyncResult]:
        """As `Client.models`."""
        return self.results("models", **filters)

    def calibrations(self, **filters: object) -> AsyncIterator[AsyncResult]:
        """As `Client.calibrations`."""
        return self.results("calibrations", **filters)

    def reports(self, **filters: object) -> AsyncIterator[AsyncResult]:
        """As `Client.reports`."""
        return self.results("reports", **filters)

    def comparisons(self, **filters: object) -> AsyncIterator[AsyncResult]:
        """As `Client.comparisons`."""
        return self.results("comparisons", **filters)

    def experts(self, **filters: object) -> AsyncIterator[AsyncResult]:
        """As `Client.experts`."""
        return self.results("expert-sets", **filters)

    async def results(self, collection: str, **filters: object) -> AsyncIterator[AsyncResult]:
        """As `Client.results`."""
        async for record in self._pages(f"/v1/{collection}", filters):
            yield AsyncResult(self._to, ResultRecord.model_validate(record))

    async def result(self, resource: str, result_id: str) -> AsyncResult:
        """As `Client.result`."""
        steps = jobs.result(resource, result_id, self._to.manners)
        return AsyncResult(self._to, await self._to.run(steps))

    async def fetch(self, artifact_id: str, path: str | Path) -> None:
        """As `Client.fetch`."""
        await self._to.run(fetched(artifact_id, Path(path), self._to.manners))

    async def version(self) -> str:
        """As `Client.version`."""
        body = await self._to.run(document(Ask("GET", "/version"), self._to.manners))
        return str(body["version"])

    async def get(self, path: str, **query: Any) -> Any:  # noqa: ANN401 -- whatever is there
        """As `Client.get`."""
        return await self._to.run(document(Ask("GET", path, query=query), self._to.manners))

    async def delete(self, path: str) -> None:
        """As `Client.delete`."""
        await self._to.run(deleted(path, self._to.manners))

    async def _uploads(
        self, collection: str, filters: Mapping[str, Any]
    ) -> AsyncIterator[AsyncDataset]:
        async for record in self._pages(f"/v1/{collection}", filters):
            yield AsyncDataset(self._to, collection, DatasetRecord.model_validate(record))

    def _pages(self, path: str, filters: Mapping[str, Any]) -> AsyncIterator[Any]:
        return self._to.iterate(pages(path, filters, self._to.manners))
