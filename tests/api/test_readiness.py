import contextlib
import os
import shutil
import signal
import socket

import pytest

from app.embedded.broker import await_broker, broker_argv, broker_url, socket_path
from app.embedded.children import spawn, stop
from app.shared.settings import Settings
from tests.api.serving import problem, running_api


@pytest.fixture
def migrated(migrated_sqlite, tmp_path):
    """Settings of a service on SQLite, whose broker is away."""
    database = tmp_path / "ddcal.sqlite"
    shutil.copyfile(migrated_sqlite, database)
    url = f"sqlite:///{database}"
    away = broker_url(tmp_path / "nobody.sock")
    return Settings(data_folder=tmp_path, database_url=url, redis_url=away)


def statuses(answer):
    """What a readiness says of each check."""
    assert answer.status_code == 200, answer.text
    body = answer.json()
    return body["status"], {check["name"]: check["status"] for check in body["checks"]}


def test_a_broker_that_comes_hangs_and_goes(migrated, tmp_path):
    """Answering: ok. Hung or gone: degraded, within seconds, and still ready."""
    with contextlib.ExitStack() as stack:
        path = stack.enter_context(socket_path(tmp_path))
        process = spawn(broker_argv(tmp_path, path), log_path=tmp_path / "broker.log")
        stack.callback(stop, process, grace_seconds=60)
        await_broker(process, path)
        settings = migrated.model_copy(update={"redis_url": broker_url(path)})
        with running_api(settings) as api:
            good = {"database": "ok", "disk": "ok", "broker": "ok"}
            assert statuses(api.client.get("/readyz")) == ("ok", good)
            os.kill(process.pid, signal.SIGSTOP)
            state, found = statuses(api.client.get("/readyz"))
            assert (state, found["database"]) == ("degraded", "ok")
            assert found["broker"] in ("broker_unavailable", "broker_slow")
            os.kill(process.pid, signal.SIGCONT)
            stop(process, grace_seconds=60)
            state, found = statuses(api.client.get("/readyz"))
            assert (state, found["broker"]) == ("degraded", "broker_unavailable")


def test_a_full_disk_is_not_ready(migrated):
    """503 that names what is needed first, and the broker as well."""
    with running_api(migrated.model_copy(update={"min_free_bytes": 2**62})) as api:
        body = problem(api.client.get("/readyz"), 503)
        assert body["code"] == "disk_full"
        found = [(one["pointer"], one["code"]) for one in body["errors"]]
        assert found == [("/checks/disk", "disk_full"), ("/checks/broker", "broker_unavailable")]


def test_a_database_that_hangs_is_given_a_second(migrated, tmp_path):
    """A server that accepts and says nothing."""
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(str(tmp_path / ".s.PGSQL.5432"))
        silent.listen()
        url = f"postgresql+psycopg://postgres@/x?host={tmp_path}"
        settings = migrated.model_copy(update={"database_url": url})
        with running_api(settings) as api:
            # It would never answer: an answer shows that it was given up.
            body = problem(api.client.get("/readyz"), 503)
            assert body["code"] == "database_slow"


def test_the_version_is_told(shared_api):
    """The document's own."""
    version = shared_api.client.get("/openapi.json").json()["info"]["version"]
    assert shared_api.client.get("/version").json() == {"version": version}
