"""What an `AsyncClient` gives: as `ddcal.handles`, to be awaited."""

import contextlib
from collections.abc import AsyncIterator, Coroutine
from pathlib import Path
from typing import Any, Self

from ddcal import downloads, jobs, uploading
from ddcal.conversations import changed, deleted
from ddcal.errors import JobFailedError
from ddcal.notebook import dataset_html, job_html, result_html
from ddcal.progress import ProgressView
from ddcal.records import RESOURCES, Artifact, DatasetRecord, Event, JobRecord, ResultRecord
from ddcal.report import Report
from ddcal.transport import AsyncTransport


class AsyncJob:
    """As `ddcal.Job`; what asks the service is awaited.

    Attributes:
        record: all that the service says of it.
    """

    def __init__(self, transport: AsyncTransport, record: JobRecord) -> None:
        self._to = transport
        self.record = record

    @property
    def id(self) -> str:
        """By which it is found again."""
        return self.record.id

    @property
    def state(self) -> str:
        """As of the last look."""
        return self.record.state

    async def refresh(self) -> Self:
        """As `Job.refresh`."""
        self.record = await self._to.run(jobs.job_as_it_stands(self.id, self._to.manners))
        return self

    async def wait(self, *, progress: bool = False, timeout: float | None = None) -> Self:
        """As `Job.wait`."""
        with ProgressView() if progress else contextlib.nullcontext() as view:
            async for record in self.watch(timeout=timeout):
                if view is not None:
                    view.show(record)
        await self._to.run(jobs.require_success_of(self.record, self._to.manners))
        return self

    async def watch(self, *, timeout: float | None = None) -> AsyncIterator[JobRecord]:
        """As `Job.watch`."""
        async for record in self._to.iterate(jobs.watched(self.id, timeout, self._to.manners)):
            self.record = record
            yield record

    async def cancel(self) -> Self:
        """As `Job.cancel`."""
        self.record = await self._to.run(jobs.cancelled(self.id, self._to.manners))
        return self

    async def retry(self) -> "AsyncJob":
        """As `Job.retry`."""
        return AsyncJob(self._to, await self._to.run(jobs.retried(self.id, self._to.manners)))

    async def describe(self, **change: object) -> Self:
        """As `Job.describe`."""
        steps = changed(f"/v1/jobs/{self.id}", change, self._to.manners)
        self.record = JobRecord.model_validate(await self._to.run(steps))
        return self

    async def delete(self) -> None:
        """As `Job.delete`."""
        await self._to.run(deleted(f"/v1/jobs/{self.id}", self._to.manners))

    @property
    def log(self) -> Coroutine[Any, Any, str]:
        """As `Job.log`, to be awaited."""
        return self._to.run(jobs.log(self.id, self._to.manners))

    async def events(self, *, follow: bool = False) -> AsyncIterator[Event]:
        """As `Job.events`."""
        told = jobs.events_as_they_come if follow else jobs.all_events
        async for event in self._to.iterate(told(self.id, self._to.manners)):
            yield Event.model_validate(event)

    async def results(self) -> "list[AsyncResult]":
        """As `Job.results`."""
        found = await self._to.run(jobs.results(self.id, self._to.manners))
        return [AsyncResult(self._to, one) for one in found]

    async def artifacts(self) -> list[Artifact]:
        """As `Job.artifacts`."""
        return await self._to.run(jobs.artifacts(self.id, self._to.manners))

    @property
    def report(self) -> Coroutine[Any, Any, Report]:
        """As `Job.report`, to be awaited."""
        return self._to.run(jobs.report_of(self.id, self._to.manners))

    async def save_report(self, path: str | Path) -> None:
        """As `Job.save_report`."""
        await self._to.run(downloads.report_page(self.id, Path(path), self._to.manners))

    async def download(self, folder: str | Path) -> list[Path]:
        """As `Job.download`."""
        return await self._to.run(downloads.downloaded(self.id, Path(folder), self._to.manners))

    def __repr__(self) -> str:
        return f"<AsyncJob {self.id}: {self.record.title}, {self.state}>"

    def _repr_html_(self) -> str:
        return job_html(self.record)


class AsyncResult:
    """As `ddcal.Result`.

    Attributes:
        record: all that the service says of it.
    """

    def __init__(self, transport: AsyncTransport, record: ResultRecord) -> None:
        self._to = transport
        self.record = record

    @property
    def id(self) -> str:
        """By which it is found again."""
        return self.record.id

    async def describe(self, **change: object) -> Self:
        """As `Result.describe`."""
        path = f"/v1/{RESOURCES[self.record.resource]}/{self.id}"
        body = await self._to.run(changed(path, change, self._to.manners))
        self.record = ResultRecord.model_validate(body)
        return self

    async def download(
        self,
        folder: str | Path = ".",
        *,
        format: str | None = None,  # noqa: A002  the word of the API
    ) -> list[Path]:
        """As `Result.download`."""
        if format is None:
            steps = downloads.files_of(self.record, Path(folder), self._to.manners)
        else:
            steps = downloads.exported(self.record, format, Path(folder), self._to.manners)
        return await self._to.run(steps)

    def __repr__(self) -> str:
        return f"<AsyncResult {self.id}: {self.record.resource} of {self.record.dataset}>"

    def _repr_html_(self) -> str:
        return result_html(self.record, None)


class AsyncDataset:
    """As `ddcal.Dataset`.

    Attributes:
        record: all that the service says of it.
        collection: datasets or logits.
    """

    def __init__(self, transport: AsyncTransport, collection: str, record: DatasetRecord) -> None:
        self._to = transport
        self.collection = collection
        self.record = record

    @property
    def name(self) -> str:
        """By which jobs name it."""
        return self.record.name

    @property
    def state(self) -> str:
        """As of the last look."""
        return self.record.state

    async def refresh(self) -> Self:
        """As `Dataset.refresh`."""
        steps = uploading.dataset(self.collection, self.name, self._to.manners)
        self.record = await self._to.run(steps)
        return self

    async def wait(self, *, progress: bool = False, timeout: float | None = None) -> Self:
        """As `Dataset.wait`."""
        if self.record.job_id is not None and self.state == "checking":
            intake = jobs.job_as_it_stands(self.record.job_id, self._to.manners)
            with contextlib.suppress(JobFailedError):  # the data set itself knows more
                job = AsyncJob(self._to, await self._to.run(intake))
                await job.wait(progress=progress, timeout=timeout)
        await self.refresh()
        uploading.require_usable(self.record)
        return self

    async def describe(self, **change: object) -> Self:
        """As `Dataset.describe`."""
        steps = changed(f"/v1/{self.collection}/{self.name}", change, self._to.manners)
        self.record = DatasetRecord.model_validate(await self._to.run(steps))
        return self

    async def delete(self) -> None:
        """As `Dataset.delete`."""
        await self._to.run(deleted(f"/v1/{self.collection}/{self.name}", self._to.manners))

    def __repr__(self) -> str:
        return f"<AsyncDataset {self.name}: {self.state}>"

    def _repr_html_(self) -> str:
        return dataset_html(self.record)
