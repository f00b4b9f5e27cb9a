"""The API on a free port, and a stand-in for the worker that ends jobs through the engine."""

import contextlib
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import httpx
import uvicorn

from app.main import LOCAL_OWNER, create_app
from app.server import Server
from app.shared.engine import runs
from app.shared.inputs.datasets import accept_dataset, reject_dataset
from app.shared.settings import Settings
from app.shared.store.artifacts import ArtifactStore
from app.shared.store.catalog import record_artifact, record_result
from app.shared.store.database import Database, open_database
from app.shared.store.job_records import Ending, Job

OWNER = LOCAL_OWNER
FACTS = {
    "image_shape": [1, 8, 8],
    "class_names": ["zero", "one"],
    "train_class_counts": [20, 30],
    "test_class_counts": [5, 5],
    "mean": [0.5],
    "std": [0.25],
}
MODEL = {"dataset": "digits", "training_set": "random", "distilled_set_id": None}
SET = {"dataset": "digits", "method": "dm", "images_per_class": 10}


class SilentBell:
    """A doorbell nobody hears."""

    def ring(self, queue: str) -> None:
        """Ring without effect."""


@dataclass(frozen=True, kw_only=True)
class Api:
    """A running API, and its database to arrange things in."""

    client: httpx.Client
    settings: Settings
    database: Database

    @property
    def store(self) -> ArtifactStore:
        """Where results' files go."""
        return ArtifactStore(self.settings.artifact_folder)

    def submit(self, kind, params, **more):
        """Submit a job that has to be accepted; gives its body."""
        answer = self.client.post("/v1/jobs", json={"kind": kind, "params": params, **more})
        assert answer.status_code == 202, answer.text
        return answer.json()

    def job(self, job_id):
        """A job's body."""
        return self.client.get(f"/v1/jobs/{job_id}").json()

    def claim(self, queue="gpu") -> Job:
        """Take the next job of a queue, as a worker would."""
        with self.database.write() as connection:
            run = runs.claim_next(connection, queue=queue, worker="w1", lease_seconds=60)
        assert run is not None
        return run

    def succeed(self, run: Job, *outputs: tuple[str, Mapping, Mapping[str, bytes]]) -> list[str]:
        """End a run with results; each is (resource, values, files by name)."""
        ids = []
        with self.database.write() as connection:
            for resource, values, files in outputs:
                ids.append(record_result(connection, run, resource, values))
                for name, content in files.items():
                    self._record_file(connection, run, ids[-1], (name, content))
            runs.succeed(connection, run, Ending())
        return ids

    def export(self, content: bytes, name: str = "distilled_set.imagefolder.zip") -> Job:
        """End the next export with a file, as its trainer would; gives its run."""
        run = self.claim("intake")
        with self.database.write() as connection:
            self._record_file(connection, run, run.params["result"], (name, content))
            runs.succeed(connection, run, Ending())
        return run

    def fail(self, run: Job) -> None:
        """End a run with an error."""
        with self.database.write() as connection:
            runs.fail(connection, run, {"type": "nan_loss", "message": "loss"}, Ending())

    def make(self, kind, params, *outputs):
        """Submit a job and end it with results; gives its id and theirs."""
        job_id = self.submit(kind, params)["id"]
        run = self.claim()
        assert run.id == job_id
        return job_id, self.succeed(run, *outputs)

    def check_upload(self, *, facts=None, problem=None) -> None:
        """End the next intake as the intake process would."""
        run = self.claim("intake")
        with self.database.write() as connection:
            if problem is None:
                accept_dataset(connection, run, facts or FACTS)
            else:
                reject_dataset(connection, run, problem)
            runs.succeed(connection, run, Ending())

    def n_jobs(self) -> int:
        """How many jobs there are."""
        return len(self.client.get("/v1/jobs", params={"page_size": 200}).json()["items"])

    def uploads(self) -> list[Path]:
        """What lies in the folder of uploads."""
        folder = self.settings.upload_folder
        return list(folder.iterdir()) if folder.exists() else []

    def _record_file(self, connection, run, resource_id, file):
        name, content = file
        source = self.settings.folder / name
        source.write_bytes(content)
        stored = self.store.put(run.id, source)
        media_type = {"html": "text/html", "png": "image/png", "json": "application/json"}.get(
            name.rpartition(".")[2], "application/octet-stream"
        )
        record_artifact(
            connection,
            run,
            resource_id,
            name=name,
            media_type=media_type,
            sha256=stored.sha256,
            n_bytes=stored.n_bytes,
        )


@contextlib.contextmanager
def running_api(settings: Settings, **options) -> Iterator[Api]:
    """The API on a free port of this machine, served by uvicorn in a thread; open if keyless."""
    settings = settings.model_copy(update={"no_key": settings.api_key is None})
    settings.folder.mkdir(parents=True, exist_ok=True)
    app = create_app(settings, SilentBell(), **options)
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    config = uvicorn.Config(app, log_config=None, ws="none", timeout_graceful_shutdown=1)
    server = Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    deadline = time.monotonic() + 120
    while not server.started:
        assert thread.is_alive()
        assert time.monotonic() < deadline
        time.sleep(0.005)
    database = open_database(settings)
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    try:
        with httpx.Client(base_url=url, timeout=120) as client:
            yield Api(client=client, settings=settings, database=database)
    finally:
        database.close()
        server.should_exit = True
        thread.join(120)
        listener.close()


def problem(answer, status, *, members=frozenset()):
    """The body of a refusal, checked to be one (RFC 9457), with members of its own if any."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    body = answer.json()
    assert set(body) == {
        "type", "title", "status", "detail", "instance", "code", "request_id", "errors", *members,
    }  # fmt: skip
    assert body["status"] == status
    assert body["request_id"] == answer.headers["x-request-id"]
    assert "Traceback" not in answer.text
    return body


def refusals(answer, status=422):
    """What a refusal says of its fields: (pointer, code) pairs."""
    return [(one["pointer"], one["code"]) for one in problem(answer, status)["errors"]]
