"""The HTTP client that the command line and users' scripts use.

with connect() as client:
    job = client.submit({"kind": "pipeline", "params": {...}})
    for job in client.watch(job["id"]):
        print(job["state"])
    client.download(job["id"], Path("results"))
"""

import contextlib
import hashlib
import json
import os
import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import httpx

from ddcal.finding import service_key, service_url
from ddcal.folder_zip import zip_of_folder

Json = dict[str, Any]
Answer = TypeVar("Answer")

TERMINAL_STATES = frozenset({"succeeded", "failed", "cancelled", "expired"})
COLLECTIONS = {
    "experts": "expert-sets",
    "distill": "distilled-sets",
    "train": "models",
    "calibrate": "calibrations",
    "evaluate": "reports",
}
_CHUNK_BYTES = 1 << 20
_POLL_SECONDS = 0.5
_PATIENCE_SECONDS = 30
_MAX_PROBLEMS_SHOWN = 10


class ServiceError(Exception):
    """The service refused a request, or sent something damaged.

    Attributes:
        status: of the HTTP answer.
        code: the problem's stable word.
        problems: of a request refused for its fields, one entry each (pointer, code, detail).
    """

    def __init__(
        self, status: int, code: str, detail: str, problems: tuple[Json, ...] = ()
    ) -> None:
        lines = [detail] + [
            f"  {problem.get('pointer') or '(body)'}: {problem.get('detail')}"
            for problem in problems[:_MAX_PROBLEMS_SHOWN]
        ]
        super().__init__("\n".join(lines))
        self.status = status
        self.code = code
        self.problems = problems


class DamagedDownloadError(Exception):
    """A downloaded file is not the one that the service announced."""


@contextlib.contextmanager
def connect(url: str | None = None, *, api_key: str | None = None) -> Iterator["Client"]:
    """A client of a service.

    Args:
        url: of the service; default: DDCAL_URL, else the `ddcal serve` that runs on the data folder
            (DDCAL_DATA_FOLDER, ddcal-data), else http://127.0.0.1:8000.
        api_key: its key; default: the one that belongs to that URL, as `ddcal.finding` has it.

    Raises:
        httpx.InvalidURL: the URL cannot be read.
    """
    url = url or service_url(os.environ)
    api_key = api_key or service_key(url, os.environ)
    headers = {"Accept": "application/json"}
    if api_key:
        headers["Authorization"] = f"Bearer {api_key}"
    # trust_env off: a proxy set for the web has no business with a service on loopback. Redirects
    # are not followed: the key is for this service alone.
    with httpx.Client(
        base_url=url, headers=headers, timeout=30, trust_env=False, follow_redirects=False
    ) as http:
        yield Client(http)


@dataclass(frozen=True)
class Client:
    """One service; see `connect`.

    Attributes:
        http: sends the requests.
        retry_seconds: pause before asking a service again that could not be reached.
    """

    http: httpx.Client
    retry_seconds: float = 0.5

    def get(self, path: str, **query: str | int) -> Json:
        """The JSON document at a path under the service's URL.

        Raises:
            ServiceError: the service refuses.
            httpx.TransportError: it cannot be reached.
        """
        return _document(self.http.get(path, params=query))

    def submit(self, request: Mapping[str, Any] | bytes) -> Json:
        """Submit a job; sent again under the same key if the connection breaks, it runs once.

        Args:
            request: the submission, or the JSON document itself, which goes as it is.
        """
        content = request if isinstance(request, bytes) else json.dumps(request).encode()
        return self._create("/v1/jobs", content, {"Content-Type": "application/json"})

    def retry(self, job_id: str) -> Json:
        """Submit once more what a job that ended without success was to do; the new job."""
        return self._create(f"/v1/jobs/{job_id}/retry")

    def _create(
        self, path: str, content: bytes = b"", headers: Mapping[str, str] | None = None
    ) -> Json:
        keyed = {**_key(), **(headers or {})}
        post = partial(self.http.post, path, headers=keyed, content=content)
        return _document(self._patiently(post))

    def upload_dataset(self, name: str, path: Path, **options: str | float) -> Json:
        """Upload a data set of one's own; sent again if the connection breaks, it is taken once.

        Args:
            name: as it is to be called.
            path: a .npz, a zip of image files in class folders, or such a folder.
            options: of image files: resize, colour, test_fraction, seed.
        """
        if not path.is_dir():
            return self._upload("/v1/datasets", name, path, options)
        with zip_of_folder(path) as packed:
            return self._upload("/v1/datasets", name, packed, options)

    def upload_logits(self, name: str, path: Path, values: str | None = None) -> Json:
        """Upload an .npz of logits and labels of a model made elsewhere.

        Args:
            name: as they are to be called.
            path: the .npz.
            values: "logits" or "probabilities", where the service would not know.
        """
        return self._upload("/v1/logits", name, path, {} if values is None else {"values": values})

    def _upload(
        self, collection: str, name: str, path: Path, options: Mapping[str, str | float]
    ) -> Json:
        headers = _key() | {
            "Content-Type": "application/octet-stream",
            # Without it httpx would send chunks, and the service could not refuse before they come.
            "Content-Length": str(path.stat().st_size),
        }

        def send() -> httpx.Response:
            # Opened anew each time: a body that was cut off is sent again from its start.
            with path.open("rb") as file:
                return self.http.post(
                    collection,
                    params={"name": name, **options},
                    content=iter(lambda: file.read(_CHUNK_BYTES), b""),
                    headers=headers,
                )

        return _document(self._patiently(send))

    def job(self, job_id: str) -> Json:
        """A job as it stands."""
        return self.get(f"/v1/jobs/{job_id}")

    def jobs(self, **filters: str) -> Iterator[Json]:
        """Jobs, newest first, over all pages; filters: state, kind, dataset, parent."""
        return self._items("/v1/jobs", filters)

    def log(self, job_id: str) -> str:
        """What the job's trainer wrote, all attempts."""
        response = self.http.get(f"/v1/jobs/{job_id}/log")
        _require_success(response)
        return response.text

    def cancel(self, job_id: str) -> Json:
        """Ask a job to stop."""
        return _document(self.http.post(f"/v1/jobs/{job_id}/cancel"))

    def watch(self, job_id: str, *, poll_seconds: float = _POLL_SECONDS) -> Iterator[Json]:
        """A job again and again until it has ended; a service that restarts is waited for."""
        while True:
            job = self._patiently(lambda: self.job(job_id))
            yield job
            if job["state"] in TERMINAL_STATES:
                return
            time.sleep(poll_seconds)

    def artifacts(self, job_id: str) -> list[Json]:
        """What a job has made."""
        return list(self._items(f"/v1/jobs/{job_id}/artifacts", {}))

    def results(self, job: Json) -> list[Json]:
        """The results of an atomic job (id, resource, details, artifacts), first made first."""
        if job["kind"] not in COLLECTIONS:
            return []
        newest_first = self._items(f"/v1/{COLLECTIONS[job['kind']]}", {"job_id": job["id"]})
        return list(newest_first)[::-1]

    def fetch(self, artifact: Json, path: Path) -> None:
        """Write an artifact's bytes to a file, which appears only whole and checked.

        Raises:
            DamagedDownloadError: the bytes do not have the announced sha256.
        """
        part = path.with_name(path.name + ".part")
        path.parent.mkdir(parents=True, exist_ok=True)
        digest = hashlib.sha256()
        url = f"/v1/artifacts/{artifact['id']}/content"
        with self.http.stream("GET", url) as response, part.open("wb") as file:
            _require_success(response)
            for chunk in response.iter_bytes(_CHUNK_BYTES):
                digest.update(chunk)
                file.write(chunk)
        announced = response.headers.get("etag", "").strip('"').removeprefix("sha256-")
        if digest.hexdigest() != announced:
            part.unlink()
            raise DamagedDownloadError(
                f"{path.name}: wanted sha256 {announced or '(no ETag)'}, got {digest.hexdigest()}"
            )
        os.replace(part, path)  # noqa: PTH105 -- the atomic one, by its name

    def download(self, job_id: str, folder: Path) -> list[Path]:
        """Fetch all that a job has made; of a pipeline, a folder for each child.

        Returns:
            The files written, such as distill/manifest.json, train-full/seed-0/config.json,
            calibrate-full/ts-validation/seed-0/calibrated_model.pt2.
        """
        written: list[Path] = []
        whole = self.job(job_id)
        for job in whole["children"] or [whole]:
            into = folder / (job["role"] or "")
            folders = _folders(self.results(job))
            for artifact in self.artifacts(job["id"]):
                name = Path(artifact["name"]).name  # a file's name, whatever it says
                path = into / folders.get(artifact["resource_id"], Path()) / name
                self.fetch(artifact, path)
                written.append(path)
        return written

    def _patiently(self, ask: Callable[[], Answer]) -> Answer:
        """Ask again while the service cannot be reached, as when its API is being restarted."""
        deadline: float | None = None
        while True:
            try:
                return ask()
            except httpx.TransportError:
                # From the first failure on: what had worked until then may have taken long.
                deadline = deadline or time.monotonic() + _PATIENCE_SECONDS
                if time.monotonic() > deadline:
                    raise
                time.sleep(self.retry_seconds)

    def _items(self, path: str, query: Mapping[str, str]) -> Iterator[Json]:
        token: str | None = ""
        while token is not None:
            page = self.get(path, **query, **({"page_token": token} if token else {}))
            yield from page["items"]
            token = page.get("next_page_token") or None


def _key() -> dict[str, str]:
    """By which a request that is sent again is known to be the same."""
    return {"Idempotency-Key": secrets.token_hex(16)}


def _folders(results: list[Json]) -> dict[str, Path]:
    """Where below its job's folder each result's files go, by id; no two go to the same."""
    folders: dict[str, Path] = {}
    for result in results:
        wanted = Path(*_folder_names(result["resource"], result["details"]))
        folder, n_taken = wanted, 1
        while folder in folders.values():
            n_taken += 1
            folder = wanted.with_name(f"{wanted.name}-{n_taken}")
        folders[result["id"]] = folder
    return folders


def _folder_names(resource: str, details: Json) -> list[str]:
    if resource not in ("model", "calibration"):
        return []
    if "logits" in details:  # of no network made here, so of no seed
        return [str(details["method"])]
    names = [f"seed-{details['seed_index']}"]
    if resource == "calibration":
        words = (details["method"], details["fit_on"], details["mask_ratio"])
        names.insert(0, "-".join(str(word).replace("_", "-") for word in words if word is not None))
    return names


def _document(response: httpx.Response) -> Json:
    _require_success(response)
    document: Json = response.json()
    return document


def _require_success(response: httpx.Response) -> None:
    if response.is_success:
        return
    response.read()
    try:
        problem = response.json()
    except ValueError:
        problem = {}
    raise ServiceError(
        response.status_code,
        str(problem.get("code", "unknown")),
        str(problem.get("detail") or f"the service answered {response.status_code}"),
        tuple(problem.get("errors", ())),
    )
