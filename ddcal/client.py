"""The client of a service.

with ddcal.Client() as client:
    job = client.submit("pipeline", dataset="digits", calibrate=[{"method": "ts"}])
    job.wait(progress=True)
    print(job.report.headline)
    job.download("results")
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx

from ddcal import jobs, uploading
from ddcal.conversations import Manners, deleted, document, fetched, no_service, pages
from ddcal.finding import service_key, service_url
from ddcal.handles import Dataset, Job, Result
from ddcal.records import (
    DatasetRecord,
    JobRecord,
    NamedStudyRecord,
    PlanRecord,
    ResultRecord,
)
from ddcal.steps import Ask
from ddcal.transport import Transport, http_options
from ddcal.uploading import DATASETS, LOGITS, SetSource, Source

TIMEOUT_SECONDS = 30.0
MAX_RETRIES = 4


class Client:
    """One service, used by whoever waits for each answer; close it, or use it as a context.

    Args:
        url: of the service; default: DDCAL_URL, else the `ddcal serve` that runs on the data folder
            (DDCAL_DATA_FOLDER, ddcal-data), else http://127.0.0.1:8000.
        api_key: its key; default: the one that belongs to that URL (`ddcal.finding`).
        timeout: seconds to wait for a connection, and for each part of an answer.
        max_retries: how often a request is sent again, where the connection fails or the service
            is busy; a POST then carries the same Idempotency-Key, and is carried out once.
        http: sends the requests instead of a client of our own; with its own address and key.

    Attributes:
        url: of the service.

    Raises:
        NoServiceError: the URL cannot be read.
        OSError: the file of a running service's key cannot be read.
    """

    def __init__(
        self,
        url: str | None = None,
        *,
        api_key: str | None = None,
        timeout: float = TIMEOUT_SECONDS,
        max_retries: int = MAX_RETRIES,
        http: httpx.Client | None = None,
    ) -> None:
        if http is None:
            http = httpx.Client(**found_options(url, api_key, timeout))
        self.url = str(http.base_url).rstrip("/")
        self._to = Transport(http, Manners(self.url, max_retries))

    def close(self) -> None:
        """Close its connections."""
        self._to.http.close()

    def __enter__(self) -> Self:
        """Close it at the end."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close it."""
        self.close()

    def submit(
        self, request: str | bytes | Mapping[str, Any] | None = None, /, **fields: object
    ) -> Job:
        """Submit a job.

        Args:
            request: its kind, the params then being keywords; the whole request; or that as a JSON
                document, which goes as it is.
            fields: of the request, such as name, tags, priority, timeout_seconds, reuse; beside a
                kind, all others are its params.

        Raises:
            InvalidRequestError: it cannot be carried out; `problems` point at each field.
        """
        content = jobs.submission(request, fields)
        return Job(self._to, self._to.run(jobs.submitted(content, self._to.manners)))

    def plan(
        self, request: str | bytes | Mapping[str, Any] | None = None, /, **fields: object
    ) -> PlanRecord:
        """See what a submission would do, as `submit` takes it; nothing is written.

        Returns:
            Cells, jobs, estimates, and the cells of a study that would be refused.

        Raises:
            InvalidRequestError: none of it can be carried out.
        """
        return self._to.run(jobs.planned(jobs.submission(request, fields), self._to.manners))

    def named_studies(self) -> list[NamedStudyRecord]:
        """The studies that have a name: `submit("study", named=..., dataset=...)` runs one."""
        return self._to.run(jobs.named_studies(self._to.manners))

    def compare(self, reports: Sequence[str], **fields: object) -> Job:
        """Put finished results side by side.

        Args:
            reports: ids of reports, or of jobs for all the reports they have made: 2 to 50 in all.
            fields: name, tags, notes; base, settings of what the others are compared with; rules,
                statements to decide.

        Returns:
            The job that compares them, whose result is the comparison: `wait` for it.

        Raises:
            InvalidRequestError: one of them has no report; `problems` point at each.
        """
        steps = jobs.compared(reports, fields, self._to.manners)
        return Job(self._to, self._to.run(steps))

    def job(self, job_id: str) -> Job:
        """A job by its id."""
        return Job(self._to, self._to.run(jobs.job_as_it_stands(job_id, self._to.manners)))

    def jobs(self, **filters: object) -> Iterator[Job]:
        """Jobs, newest first, fetched as they are come to.

        Args:
            filters: state, kind, dataset, method, images_per_class, mask_ratio, parent ("none" for
                those that are in no pipeline); and those of every list: q (words of name and
                notes, or the beginning of an id), tag ("env:prod", "env", or several of them),
                created_after, created_before (RFC 3339).
        """
        for record in self._pages("/v1/jobs", filters):
            yield Job(self._to, JobRecord.model_validate(record))

    def upload(
        self, name: str, source: Source, *, logits: bool = False, **options: object
    ) -> Dataset:
        """Upload a data set, or logits and labels of a network made elsewhere.

        Args:
            name: as it is to be called.
            source: a file of any layout that the service knows (a zip, tar.gz or folder of images,
                .npz, parquet, Arrow, files of CIFAR, MNIST or SVHN), or arrays by their names
                (x_train, y_train, x_test, y_test; or logits_fit, labels_fit).
            logits: whether it is logits, where its arrays do not say so.
            options: resize, colour, background, grey_bits, test_fraction, seed, names and label of
                a data set; values of logits; tags (key -> value) and notes of either.

        Returns:
            The data set, whose content the service checks from now on: `wait` for it.
        """
        with uploading.packed(source) as path:
            collection = LOGITS if logits else uploading.collection_of(path)
            query = {"name": name, **options}
            steps = uploading.uploaded(path, collection, query, self._to.manners)
            return Dataset(self._to, collection, self._to.run(steps))

    def upload_sets(self, name: str, source: SetSource, **options: object) -> Job:
        """Upload distilled sets made elsewhere.

        Args:
            name: as the set is to be called; of a file that holds several, each with its number.
            source: a file of DC, DSA or DM, a .pt, safetensors or .npz of images and labels, such
                arrays by their names, or the two files (images, labels) of MTT or TESLA.
            options: dataset, which they were made from; space (pixels, standardised or zca);
                experiment; mean and std of standardised images; zca_eps of whitened ones;
                learned_lr; tags (key -> value)
                and notes.

        Returns:
            The job that takes them in, whose results they are: `wait` for it.
        """
        with uploading.packed_sets(source) as path:
            steps = uploading.uploaded_sets(path, {"name": name, **options}, self._to.manners)
            return Job(self._to, self._to.run(steps))

    def upload_model(self, name: str, source: str | Path, **options: object) -> Job:
        """Upload a network made elsewhere.

        Args:
            name: as the model is to be called.
            source: an ONNX file, or safetensors with the parameters of a network known by name; or
                a folder as a service gives it, whose config.json says the rest.
            options: dataset, which it is for; space, what it reads (pixels or standardised);
                architecture (onnx unless given) with what belongs to one of this service's; mean
                and std; side, in pixels; layout (nchw or nhwc); outputs (logits or probabilities);
                class_order; distilled_set, which it was trained on; tags (key -> value) and notes.

        Returns:
            The job that tries it, whose result it is: `wait` for it, or calibrate it by its id.
        """
        path, said = uploading.network_of(source)
        query = {"name": name, **said, **options}
        steps = uploading.uploaded_network(path, query, self._to.manners)
        return Job(self._to, self._to.run(steps))

    def dataset(self, name: str, *, logits: bool = False) -> Dataset:
        """A data set, or uploaded logits, by name."""
        collection = LOGITS if logits else DATASETS
        record = self._to.run(uploading.dataset(collection, name, self._to.manners))
        return Dataset(self._to, collection, record)

    def datasets(self, **filters: object) -> Iterator[Dataset]:
        """Data sets: the named ones, then the uploads; filters: those of every list."""
        return self._uploads(DATASETS, filters)

    def logits(self, **filters: object) -> Iterator[Dataset]:
        """Uploads of logits; filters: those of every list."""
        return self._uploads(LOGITS, filters)

    def sets(self, **filters: object) -> Iterator[Result]:
        """Distilled sets, newest first; filters: also method, images_per_class."""
        return self.results("distilled-sets", **filters)

    def models(self, **filters: object) -> Iterator[Result]:
        """Trained networks, newest first; filters: also max_ece."""
        return self.results("models", **filters)

    def calibrations(self, **filters: object) -> Iterator[Result]:
        """Calibrations, newest first; filters: also method, status, max_ece."""
        return self.results("calibrations", **filters)

    def reports(self, **filters: object) -> Iterator[Result]:
        """Reports, newest first; filters: also max_ece."""
        return self.results("reports", **filters)

    def comparisons(self, **filters: object) -> Iterator[Result]:
        """Comparisons, newest first; filters: job_id, dataset, and those of every list."""
        return self.results("comparisons", **filters)

    def experts(self, **filters: object) -> Iterator[Result]:
        """Sets of experts, newest first; filters: job_id, dataset, and those of every list."""
        return self.results("expert-sets", **filters)

    def results(self, collection: str, **filters: object) -> Iterator[Result]:
        """Results of one kind, newest first unless sorted.

        Args:
            collection: as it stands in the URL, such as distilled-sets.
            filters: job_id, dataset; of what is measured min_accuracy and sort ("-accuracy",
                "ece"); and those of every list, see `jobs`.
        """
        for record in self._pages(f"/v1/{collection}", filters):
            yield Result(self._to, ResultRecord.model_validate(record))

    def result(self, resource: str, result_id: str) -> Result:
        """A result by what it is, such as distilled_set, and its id."""
        return Result(self._to, self._to.run(jobs.result(resource, result_id, self._to.manners)))

    def fetch(self, artifact_id: str, path: str | Path) -> None:
        """Write a file's bytes to a path, where it appears only whole and checked.

        Raises:
            DamagedDownloadError: the bytes do not have the announced sha256.
        """
        self._to.run(fetched(artifact_id, Path(path), self._to.manners))

    def version(self) -> str:
        """Of the service."""
        body = self._to.run(document(Ask("GET", "/version"), self._to.manners))
        return str(body["version"])

    def get(self, path: str, **query: Any) -> Any:  # noqa: ANN401 -- whatever is there
        """The JSON document at a path under the service's URL, for what has no method here."""
        return self._to.run(document(Ask("GET", path, query=query), self._to.manners))

    def delete(self, path: str) -> None:
        """Delete what is at a path under the service's URL."""
        self._to.run(deleted(path, self._to.manners))

    def _uploads(self, collection: str, filters: Mapping[str, Any]) -> Iterator[Dataset]:
        for record in self._pages(f"/v1/{collection}", filters):
            yield Dataset(self._to, collection, DatasetRecord.model_validate(record))

    def _pages(self, path: str, filters: Mapping[str, Any]) -> Iterator[Any]:
        return self._to.iterate(pages(path, filters, self._to.manners))


def found_options(url: str | None, api_key: str | None, timeout: float) -> dict[str, Any]:
    """What httpx is told of the service that is meant, and of its key.

    Raises:
        NoServiceError: the URL cannot be read.
    """
    url = url or service_url(os.environ)
    try:
        key = api_key or service_key(url, os.environ)
        httpx.URL(url)
    except httpx.InvalidURL as error:
        raise no_service(url, error) from None
    return http_options(url, key, timeout)
