"""What a `Client` gives: a job, a result, a data set, each with what can be done with it.

`ddcal.async_handles` has the same to be awaited.
"""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Self

from ddcal import downloads, jobs, uploading
from ddcal.conversations import changed, content_of, deleted
from ddcal.errors import JobFailedError
from ddcal.notebook import dataset_html, job_html, result_html
from ddcal.progress import ProgressView
from ddcal.records import RESOURCES, Artifact, DatasetRecord, Event, JobRecord, ResultRecord
from ddcal.report import Report
from ddcal.transport import Transport

PREVIEW = "preview.png"


class Job:
    """A job, as it stood when last looked at.

    Attributes:
        record: all that the service says of it.
    """

    def __init__(self, transport: Transport, record: JobRecord) -> None:
        self._to = transport
        self.record = record

    @property
    def id(self) -> str:
        """By which it is found again."""
        return self.record.id

    @property
    def state(self) -> str:
        """As of the last look: `refresh` and `wait` look again."""
        return self.record.state

    def refresh(self) -> Self:
        """Look again."""
        self.record = self._to.run(jobs.job_as_it_stands(self.id, self._to.manners))
        return self

    def wait(self, *, progress: bool = False, timeout: float | None = None) -> Self:
        """Wait until it has ended; a service that restarts meanwhile is waited for.

        Args:
            progress: whether to show a bar, or plain lines where there is no terminal.
            timeout: in seconds; None for as long as it takes.

        Raises:
            JobFailedError: it ended without success; its text says why.
            WaitTimeoutError: it has not ended in time; it goes on.
        """
        with ProgressView() if progress else contextlib.nullcontext() as view:
            for record in self.watch(timeout=timeout):
                if view is not None:
                    view.show(record)
        self._to.run(jobs.require_success_of(self.record, self._to.manners))
        return self

    def watch(self, *, timeout: float | None = None) -> Iterator[JobRecord]:
        """The job each time that it has changed, until it has ended, in whichever way."""
        for record in self._to.iterate(jobs.watched(self.id, timeout, self._to.manners)):
            self.record = record
            yield record

    def cancel(self) -> Self:
        """Ask it to stop; of a pipeline, every part."""
        self.record = self._to.run(jobs.cancelled(self.id, self._to.manners))
        return self

    def retry(self) -> "Job":
        """Submit once more what failed, was cancelled or expired; the new job."""
        return Job(self._to, self._to.run(jobs.retried(self.id, self._to.manners)))

    def describe(self, **change: object) -> Self:
        """Change what is said of it; what it does and has made stays.

        Args:
            change: name, tags (key -> value) and notes: what is left out stays as it is, as do tags
                that are not named, and None takes away.
        """
        steps = changed(f"/v1/jobs/{self.id}", change, self._to.manners)
        self.record = JobRecord.model_validate(self._to.run(steps))
        return self

    def delete(self) -> None:
        """Delete it, once it has ended, with its results and their files."""
        self._to.run(deleted(f"/v1/jobs/{self.id}", self._to.manners))

    @property
    def log(self) -> str:
        """What its trainer has written, all attempts."""
        return self._to.run(jobs.log(self.id, self._to.manners))

    def events(self, *, follow: bool = False) -> Iterator[Event]:
        """What has happened to it, oldest first; with `follow` also what comes, until its end."""
        told = jobs.events_as_they_come if follow else jobs.all_events
        steps = told(self.id, self._to.manners)
        return map(Event.model_validate, self._to.iterate(steps))

    @property
    def results(self) -> "list[Result]":
        """What it, or of a pipeline its parts, have made."""
        found = self._to.run(jobs.results(self.id, self._to.manners))
        return [Result(self._to, one) for one in found]

    @property
    def artifacts(self) -> list[Artifact]:
        """The files that it, or of a pipeline its parts, have made."""
        return self._to.run(jobs.artifacts(self.id, self._to.manners))

    @property
    def report(self) -> Report:
        """Its report.

        Raises:
            JobNotDoneError: there is none yet.
            JobFailedError: there will be none.
            NotFoundError: it is of a kind that makes none.
        """
        return self._to.run(jobs.report_of(self.id, self._to.manners))

    def save_report(self, path: str | Path) -> None:
        """Write the page of its report, or of its comparison if it has made one, to a file.

        Raises:
            JobNotDoneError: there is none yet.
            JobFailedError: there will be none.
            NotFoundError: it is of a kind that makes none.
        """
        self._to.run(downloads.report_page(self.id, Path(path), self._to.manners))

    def download(self, folder: str | Path) -> list[Path]:
        """Fetch all that it has made; of a pipeline, into a folder for each part.

        Raises:
            JobNotDoneError: it has not ended yet.
            JobFailedError: it ended without success and has made nothing.
        """
        return self._to.run(downloads.downloaded(self.id, Path(folder), self._to.manners))

    def __repr__(self) -> str:
        return f"<Job {self.id}: {self.record.title}, {self.state}>"

    def _repr_html_(self) -> str:
        return job_html(self.record)


class Result:
    """A distilled set, model, calibration, report or set of experts.

    Attributes:
        record: all that the service says of it.
    """

    def __init__(self, transport: Transport, record: ResultRecord) -> None:
        self._to = transport
        self.record = record

    @property
    def id(self) -> str:
        """By which it is found again, and by which other jobs name it."""
        return self.record.id

    def describe(self, **change: object) -> Self:
        """Change its name, tags and notes, as `Job.describe` does."""
        path = f"/v1/{RESOURCES[self.record.resource]}/{self.id}"
        body = self._to.run(changed(path, change, self._to.manners))
        self.record = ResultRecord.model_validate(body)
        return self

    def download(
        self,
        folder: str | Path = ".",
        *,
        format: str | None = None,  # noqa: A002  the word of the API
    ) -> list[Path]:
        """Fetch its files, or the one file of a format.

        Args:
            folder: to write into.
            format: such as "huggingface" or "onnx", see `record.formats`; one that is not there
                yet is waited for. None for the files that its job has written.

        Raises:
            InvalidRequestError: it cannot be had in this format.
            ConflictError: it could not be made.
        """
        if format is None:
            steps = downloads.files_of(self.record, Path(folder), self._to.manners)
        else:
            steps = downloads.exported(self.record, format, Path(folder), self._to.manners)
        return self._to.run(steps)

    def __repr__(self) -> str:
        return f"<Result {self.id}: {self.record.resource} of {self.record.dataset}>"

    def _repr_html_(self) -> str:
        return result_html(self.record, self._preview())

    def _preview(self) -> bytes | None:
        for artifact in self.record.artifacts:
            if artifact.name == PREVIEW:
                return self._to.run(content_of(artifact.id, self._to.manners))
        return None


class Dataset:
    """A data set, or uploaded logits.

    Attributes:
        record: all that the service says of it.
        collection: datasets or logits.
    """

    def __init__(self, transport: Transport, collection: str, record: DatasetRecord) -> None:
        self._to = transport
        self.collection = collection
        self.record = record

    @property
    def name(self) -> str:
        """By which jobs name it."""
        return self.record.name

    @property
    def state(self) -> str:
        """checking, ready, rejected or unavailable, as of the last look."""
        return self.record.state

    def refresh(self) -> Self:
        """Look again."""
        self.record = self._to.run(uploading.dataset(self.collection, self.name, self._to.manners))
        return self

    def wait(self, *, progress: bool = False, timeout: float | None = None) -> Self:
        """Wait until an upload has been checked.

        Raises:
            UploadRejectedError: its content cannot be used; its text says why.
            WaitTimeoutError: it has not been checked in time.
        """
        if self.record.job_id is not None and self.state == "checking":
            intake = jobs.job_as_it_stands(self.record.job_id, self._to.manners)
            with contextlib.suppress(JobFailedError):  # the data set itself knows more
                Job(self._to, self._to.run(intake)).wait(progress=progress, timeout=timeout)
        self.refresh()
        uploading.require_usable(self.record)
        return self

    def describe(self, **change: object) -> Self:
        """Change the tags and notes of an upload, as `Job.describe` does."""
        steps = changed(f"/v1/{self.collection}/{self.name}", change, self._to.manners)
        self.record = DatasetRecord.model_validate(self._to.run(steps))
        return self

    def delete(self) -> None:
        """Delete an upload and its files; what was made from it stays."""
        self._to.run(deleted(f"/v1/{self.collection}/{self.name}", self._to.manners))

    def __repr__(self) -> str:
        return f"<Dataset {self.name}: {self.state}>"

    def _repr_html_(self) -> str:
        return dataset_html(self.record)
