import contextlib
import os
import random
import shutil
import signal
import socket

import pytest
import redis
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import update

from app.api import health
from app.embedded.broker import (
    await_broker,
    broker_argv,
    broker_url,
    running_broker,
    socket_path,
)
from app.embedded.children import spawn, stop
from app.shared.engine import runs
from app.shared.settings import Settings
from app.shared.store.database import db_now, open_database
from app.shared.store.tables import jobs
from tests.api.serving import problem, running_api
from tests.waiting import until


@pytest.fixture(autouse=True)
def patience(request, monkeypatch):
    """What answers is waited for on a busy machine, too; what never does is given a second."""
    if "hangs" not in request.node.name:
        monkeypatch.setattr(health, "ANSWER_SECONDS", 60.0)


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


def unready(answer):
    """The body of a 503: a problem with all checks beside it."""
    body = answer.json()
    assert body["readiness"] == "unready"
    return problem(answer, 503, members={"readiness", "checks"})


def test_a_broker_that_comes_hangs_and_goes(migrated, tmp_path):
    """Answering: ok. Hung or gone: degraded, within seconds, and still ready."""
    with contextlib.ExitStack() as stack:
        path = stack.enter_context(socket_path(tmp_path))
        process = spawn(broker_argv(tmp_path, path), log_path=tmp_path / "broker.log")
        stack.callback(stop, process, grace_seconds=60)
        await_broker(process, path)
        settings = migrated.model_copy(update={"redis_url": broker_url(path)})
        with running_api(settings) as api:
            good = {"database": "ok", "disk": "ok", "broker": "ok", "workers": "ok"}
            assert statuses(api.client.get("/readyz")) == ("ready", good)
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
        body = unready(api.client.get("/readyz"))
        assert body["code"] == "disk_full"
        found = [(one["pointer"], one["code"]) for one in body["errors"]]
        assert found == [("/checks/disk", "disk_full"), ("/checks/broker", "broker_unavailable")]
        assert [(one["name"], one["status"]) for one in body["checks"]] == [
            ("database", "ok"),
            ("disk", "disk_full"),
            ("broker", "broker_unavailable"),
            ("workers", "ok"),
        ]


def test_a_database_that_hangs_is_given_a_second(migrated, tmp_path):
    """A server that accepts and says nothing."""
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(str(tmp_path / ".s.PGSQL.5432"))
        silent.listen()
        url = f"postgresql+psycopg://postgres@/x?host={tmp_path}"
        settings = migrated.model_copy(update={"database_url": url})
        with running_api(settings) as api:
            # It would never answer: an answer shows that it was given up.
            assert unready(api.client.get("/readyz"))["code"] == "database_slow"


@contextlib.contextmanager
def with_broker(settings, folder):
    """The same settings with a broker that answers, and its client."""
    with (
        running_broker(folder) as url,
        redis.from_url(url.replace("redis+socket://", "unix://")) as client,
    ):
        yield settings.model_copy(update={"redis_url": url}), client


def test_a_full_broker_is_degraded(migrated, tmp_path):
    """It answers pings, and takes no message; jobs are taken all the same."""
    with with_broker(migrated, tmp_path) as (settings, client), running_api(settings) as api:
        client.config_set("maxmemory", 1)
        state, found = statuses(api.client.get("/readyz"))
        assert (state, found["broker"]) == ("degraded", "broker_full")
        api.submit("distill", {"dataset": "digits"})
        assert failed_checks(api) == {"database": 0, "disk": 0, "broker": 1, "workers": 0}
        client.config_set("maxmemory", 0)
        assert statuses(api.client.get("/readyz"))[0] == "ready"
        assert failed_checks(api)["broker"] == 0


def failed_checks(api):
    """The metric of each check."""
    families = text_string_to_metric_families(api.client.get("/metrics").text)
    (family,) = (family for family in families if family.name == "ddcal_failed_check")
    return {sample.labels["check"]: sample.value for sample in family.samples}


def test_a_queue_with_work_and_no_worker_is_degraded(migrated_url, tmp_path):
    """Named with its queue; ready again as soon as somebody takes its jobs."""
    quick = {"lease_seconds": 0.5, "heartbeat_seconds": 0.1, "ring_again_seconds": 0.1}
    settings = Settings(data_folder=tmp_path, database_url=migrated_url, **quick)
    with with_broker(settings, tmp_path) as (settings, _), running_api(settings) as api:
        for seed in range(3):
            api.submit("distill", {"dataset": "digits", "seed": seed})
        until(lambda: statuses(api.client.get("/readyz"))[1]["workers"] == "no_worker")
        body = api.client.get("/readyz").json()
        assert body["status"] == "degraded"
        (workers,) = (one for one in body["checks"] if one["name"] == "workers")
        assert "gpu (3 waiting" in workers["detail"]
        assert failed_checks(api) == {"database": 0, "disk": 0, "broker": 0, "workers": 1}

        run = api.claim()
        assert statuses(api.client.get("/readyz"))[0] == "ready"
        with api.database.write() as connection:
            runs.beat(connection, run, lease_seconds=0)
        until(lambda: statuses(api.client.get("/readyz"))[1]["workers"] == "no_worker")


def test_a_run_that_has_just_ended_is_a_sign_of_its_worker(migrated_url, tmp_path):
    """Between two jobs of a long queue no alarm is given."""
    settings = Settings(data_folder=tmp_path, database_url=migrated_url, min_free_bytes=0)
    with running_api(settings) as api:
        api.submit("distill", {"dataset": "digits"})
        api.submit("distill", {"dataset": "digits", "seed": 1})
        with api.database.write() as connection:
            connection.execute(update(jobs).values(queued_at=db_now(-3600)))
        assert statuses(api.client.get("/readyz"))[1]["workers"] == "no_worker"
        api.fail(api.claim())
        assert statuses(api.client.get("/readyz"))[1]["workers"] == "ok"


def test_a_read_only_database_is_not_ready(migrated_url, tmp_path):
    """A file that may only be read, a standby: reading goes on, a job is a 503."""
    settings = Settings(data_folder=tmp_path, database_url=migrated_url)
    keeper, url = open_database(settings), migrated_url
    with keeper.write() as connection:
        if url.startswith("sqlite"):
            # Readers need the file that a writer shares with them.
            url = f"sqlite:///file:{url.removeprefix('sqlite:///')}?mode=ro&uri=true"
        else:
            name = connection.exec_driver_sql("SELECT current_database()").scalar_one()
            change = f'ALTER DATABASE "{name}" SET default_transaction_read_only = on'
            connection.exec_driver_sql(change)
    with (
        contextlib.closing(keeper),
        running_api(settings.model_copy(update={"database_url": url})) as api,
    ):
        body = unready(api.client.get("/readyz"))
        assert body["code"] == "database_read_only"
        refused = api.client.post(
            "/v1/jobs", json={"kind": "distill", "params": {"dataset": "digits"}}
        )
        assert problem(refused, 503)["code"] == "database_unavailable"
        assert api.client.get("/v1/jobs").json()["items"] == []


def test_a_writer_at_work_does_not_make_the_database_read_only(migrated):
    """However long its transaction takes."""
    database = open_database(migrated)
    with contextlib.closing(database), running_api(migrated) as api, database.write():
        assert statuses(api.client.get("/readyz"))[1]["database"] == "ok"


@pytest.mark.parametrize("damage", ["header", "pages"])
def test_a_damaged_database_is_said_by_name(migrated, tmp_path, damage):
    """A 500 that says what to do, not a service that is away for a while; never a traceback."""
    path = tmp_path / "ddcal.sqlite"
    whole = path.read_bytes()
    noise = random.Random(0).randbytes(len(whole))
    spoilt = noise[:100] + whole[100:] if damage == "header" else whole[:100] + noise[100:]
    path.write_bytes(spoilt)
    with running_api(migrated) as api:
        body = unready(api.client.get("/readyz"))
        assert body["code"] == "database_damaged"
        assert "ddcal check" in body["detail"]
        asked = api.client.get("/v1/jobs")
        written = api.client.post(
            "/v1/jobs", json={"kind": "distill", "params": {"dataset": "digits"}}
        )
        for answer in (asked, written, api.client.get("/metrics")):
            assert problem(answer, 500)["code"] == "database_damaged"
        assert api.client.get("/healthz").is_success


def test_the_version_is_told(shared_api):
    """The document's own."""
    version = shared_api.client.get("/openapi.json").json()["info"]["version"]
    assert shared_api.client.get("/version").json() == {"version": version}
