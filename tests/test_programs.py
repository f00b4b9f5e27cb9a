"""`python -P -m app PART`: what it says and how it exits when settings cannot be used."""

import os
import subprocess
import sys

import pytest
from celery.bin.base import CLIContext
from celery.bin.worker import worker

from app.__main__ import PARTS, main
from app.embedded.parts import worker_argv
from app.shared.engine.queue import celery_sender
from app.shared.settings import Settings
from worker.supervisor.options import OPTIONS

SECRET = "a-secret-that-nobody-sees"
WORKER = ["worker.supervisor", "-Q", "gpu", "-n", "w@%h"]


@pytest.mark.parametrize("part", ["serve", "api"])
def test_without_a_key_the_service_is_on_loopback_alone(tmp_path, monkeypatch, capsys, part):
    """No key with an address that others reach is refused, before anything is made."""
    monkeypatch.setenv("DDCAL_DATA_FOLDER", str(tmp_path / "data"))
    monkeypatch.setenv("DDCAL_NO_KEY", "1")
    monkeypatch.setenv("DDCAL_HOST", "0.0.0.0")
    assert main([part]) == 2
    told = capsys.readouterr().err
    assert "host 0.0.0.0 is reachable from outside" in told
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DDCAL_LEASE_SECONDS", "soon"),
        ("DDCAL_PORT", "tcp://10.0.0.1:8000"),
        ("DDCAL_LOG_LEVEL", "loud"),
        ("DDCAL_DATABASE_URL", f"mysql://me:{SECRET}@host/x"),
        ("DDCAL_REDIS_URL", f"redis://:{SECRET}@host:port/0"),
        ("DDCAL_API_KEY", ""),
        ("DDCAL_API_KEY", "   "),
        ("DDCAL_API_KEY", SECRET[:15]),
        ("DDCAL_API_KEY", f" {SECRET}\n"),
        ("DDCAL_DATA_FOLDER", __file__),
        ("DDCAL_DATA_FOLDER", ""),
    ],
)
def test_invalid_settings(tmp_path, monkeypatch, capsys, part, name, value):
    """Exit status 2 and one line that names the variable, and tells no secret."""
    monkeypatch.setenv("DDCAL_DATA_FOLDER", str(tmp_path / "data"))
    monkeypatch.setenv("DDCAL_API_KEY", SECRET)
    monkeypatch.setenv(name, value)
    assert main([part]) == 2
    told = capsys.readouterr().err
    assert told.startswith("ddcal: invalid settings: ")
    assert told.count("\n") == 1
    assert name in told or "data folder" in told
    assert SECRET[:15] not in told
    assert list(tmp_path.iterdir()) == []


@pytest.mark.broker
@pytest.mark.long
@pytest.mark.parametrize(
    "module",
    [["app.server", "api"], ["app.server", "migrate"], ["app.housekeeping"], WORKER],
)
def test_parts_started_by_their_modules_say_it_alike(tmp_path, module):
    """No traceback there either, nor of a URL that SQLAlchemy alone can judge."""
    for url in ("mysql://x", f"postgresql+psycopg://me:{SECRET}@host:port/x"):
        told = subprocess.run(
            [sys.executable, "-P", "-m", *module],
            env={
                **os.environ,
                "DDCAL_DATA_FOLDER": str(tmp_path),
                "DDCAL_NO_KEY": "1",
                "DDCAL_DATABASE_URL": url,
            },
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert told.returncode == 2, told.stderr
        assert "invalid settings: DDCAL_DATABASE_URL" in told.stderr
        assert "Traceback" not in told.stderr
        assert SECRET not in told.stderr


def test_a_variable_that_is_no_setting_is_told(tmp_path, monkeypatch, capsys):
    """With the setting that it is close to; it stops nothing."""
    monkeypatch.setenv("DDCAL_DATA_FOLDER", str(tmp_path))
    monkeypatch.setenv("DDCAL_APIKEY", SECRET)
    monkeypatch.setenv("DDCAL_NOTHING_LIKE_IT", "1")
    monkeypatch.setenv("DDCAL_PORT", "none")  # so that it ends here
    assert main(["api"]) == 2
    assert capsys.readouterr().err.splitlines()[:2] == [
        "ddcal: warning: DDCAL_APIKEY is not a setting and is ignored; did you mean DDCAL_API_KEY?",
        "ddcal: warning: DDCAL_NOTHING_LIKE_IT is not a setting and is ignored",
    ]


def test_worker_runs_one_job_at_a_time_on_its_queues():
    """The worker's command: Celery's prefork pool of one, on the queues asked for."""
    settings = Settings()
    assert " ".join(OPTIONS).startswith("-P prefork ")
    words = worker_argv("gpu,intake", settings)
    assert "-P -m worker.supervisor -Q gpu,intake -n gpu-intake-" in " ".join(words)
    assert celery_s_reading(words)["concurrency"] == 1
    # Two workers on one host need two names.
    assert worker_argv("gpu", settings) != worker_argv("gpu", settings)


def test_a_worker_of_uploads_checks_several_at_once():
    """As many as the setting says; a trainer's worker has its one job."""
    settings = Settings(intakes=3)
    assert celery_s_reading(worker_argv("intake", settings))["concurrency"] == 3
    assert celery_s_reading(worker_argv("intake", Settings()))["concurrency"] == 2
    assert celery_s_reading(worker_argv("gpu", settings))["concurrency"] == 1


def celery_s_reading(argv):
    """The options of a worker's command as Celery understands them."""
    own = argv[argv.index("worker.supervisor") + 1 :]
    celery = CLIContext(celery_sender(Settings()), no_color=True, workdir=None)
    return worker.make_context("worker", [*OPTIONS, *own], obj=celery).params
