"""The command line: what it says and how it exits when things are not as they should be."""

import json
import os
import socket
import subprocess
import sys

import pytest

from app.cli.commands import main
from app.embedded.parts import worker_argv
from tests.stand_in import Answered, stand_in


@pytest.fixture
def nobody():
    """URL of a port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        return f"http://127.0.0.1:{free.getsockname()[1]}"


@pytest.fixture
def service():
    """A service that knows one job, and remembers the keys it was shown; gives (url, keys)."""
    keys = []

    def answer(asked):
        if asked.method == "POST":
            problem = {**PROBLEM, "detail": json.dumps([asked.body.decode()])}
            return Answered(422, json.dumps(problem).encode())
        keys.append(asked.key)
        known = KNOWN.get(asked.path)
        body = json.dumps(PROBLEM if known is None else known).encode()
        return Answered(404 if known is None else 200, body)

    with stand_in(answer) as port:
        yield f"http://127.0.0.1:{port}", keys


PROBLEM = {"status": 404, "code": "job_not_found", "detail": "there is no job job_1", "errors": []}
FAILED_JOB = {
    "id": "job_failed",
    "kind": "train",
    "role": None,
    "state": "failed",
    "progress": None,
    "error": {"type": "nan_loss", "message": "the loss is NaN at step 3"},
    "children": [],
    "created_at": "2026-01-01T00:00:00Z",
    "dataset": "digits",
}
KNOWN = {
    "/v1/jobs/job_failed": FAILED_JOB,
    "/v1/jobs": {"items": [FAILED_JOB], "next_page_token": None},
}


def test_service_that_is_not_there(nobody, capsys):
    """The address and what to do are named, and the exit status is 1."""
    assert main(["--url", nobody, "cancel", "job_1"]) == 1
    told = capsys.readouterr().err
    assert nobody in told
    assert "ddcal serve" in told


def test_refusal_is_told_in_the_services_words(service, capsys):
    """A problem's detail reaches the terminal, without a trace."""
    url, _ = service
    assert main(["--url", url, "watch", "job_1"]) == 1
    assert capsys.readouterr().err == "ddcal: there is no job job_1\n"


def test_watch_of_a_failed_job(service, capsys):
    """Exit 1, with the job's error."""
    url, _ = service
    assert main(["--url", url, "watch", "job_failed"]) == 1
    told = capsys.readouterr().err
    assert "job_failed failed" in told
    assert "train: nan_loss: the loss is NaN at step 3" in told


def test_key_comes_from_the_environment(service, monkeypatch):
    """DDCAL_API_KEY goes along as a bearer token, and DDCAL_URL says where."""
    url, keys = service
    monkeypatch.setenv("DDCAL_URL", url)
    monkeypatch.setenv("DDCAL_API_KEY", SECRET)
    main(["watch", "job_failed"])
    assert set(keys) == {f"Bearer {SECRET}"}


def test_file_that_is_no_json(tmp_path, nobody, capsys):
    """The place of the mistake is named, and nothing is sent."""
    (tmp_path / "job.json").write_text('{"kind": }')
    assert main(["--url", nobody, "submit", str(tmp_path / "job.json")]) == 1
    assert "is not JSON" in capsys.readouterr().err


@pytest.mark.parametrize("content", [b"\xff", b"[" * 100_000])
def test_file_that_no_reader_reads(tmp_path, nobody, capsys, content):
    """In words, whatever is in it."""
    (tmp_path / "job.json").write_bytes(content)
    assert main(["--url", nobody, "submit", str(tmp_path / "job.json")]) == 1
    assert "is not JSON" in capsys.readouterr().err


@pytest.mark.parametrize(
    "content", [b'{"seed": 1, "seed": 9}', b'{"lr": NaN}', b'{"name": "\\ud800"}']
)
def test_a_submission_goes_as_it_is(tmp_path, service, capsys, content):
    """What a reader would let pass, or trip over, is for the service to refuse."""
    url, _ = service
    (tmp_path / "job.json").write_bytes(content)
    assert main(["--url", url, "submit", str(tmp_path / "job.json")]) == 1
    assert json.loads(capsys.readouterr().err.removeprefix("ddcal: ")) == [content.decode()]


def test_file_that_is_not_there(tmp_path, nobody, capsys):
    """A missing file is named."""
    assert main(["--url", nobody, "submit", str(tmp_path / "none.json")]) == 1
    assert "none.json" in capsys.readouterr().err


SECRET = "a-secret-that-nobody-sees"
WORKER = ["celery", "-A", "worker.supervisor.celery_app", "worker"]
PARTS = {
    "serve": ["serve"],
    "api": ["api"],
    "worker": ["worker"],
    "migrate": ["migrate"],
    "housekeeping": ["housekeeping"],
}


@pytest.mark.parametrize("part", ["serve", "api"])
def test_without_a_key_the_service_is_on_loopback_alone(tmp_path, monkeypatch, capsys, part):
    """--no-key with an address that others reach is refused, before anything is made."""
    monkeypatch.setenv("DDCAL_DATA_FOLDER", str(tmp_path / "data"))
    assert main([*PARTS[part], "--no-key", "--host", "0.0.0.0"]) == 2
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
    assert main(PARTS[part]) == 2
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
    [["app.server", "api"], ["app.server", "migrate"], ["app.cli.housekeeping"], WORKER],
)
def test_parts_started_by_their_modules_say_it_alike(tmp_path, module):
    """No traceback there either, nor of a URL that SQLAlchemy alone can judge."""
    for url in ("mysql://x", f"postgresql+psycopg://me:{SECRET}@host:port/x"):
        told = subprocess.run(
            [sys.executable, "-m", *module],
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


def test_an_unknown_variable_is_told(monkeypatch, capsys, nobody):
    """With the setting that it is close to; it stops nothing."""
    monkeypatch.setenv("DDCAL_APIKEY", SECRET)
    monkeypatch.setenv("DDCAL_NOTHING_LIKE_IT", "1")
    main(["--url", nobody, "cancel", "job_1"])
    lines = capsys.readouterr().err.splitlines()
    assert lines[:2] == [
        "ddcal: warning: DDCAL_APIKEY is not a setting and is ignored; did you mean DDCAL_API_KEY?",
        "ddcal: warning: DDCAL_NOTHING_LIKE_IT is not a setting and is ignored",
    ]


@pytest.mark.parametrize("argv", [[], ["unknown"], ["submit"], ["serve", "--port", "x"]])
def test_wrong_usage(argv, capsys):
    """Exit 2 and how it is used, as everywhere."""
    with pytest.raises(SystemExit, match="2"):
        main(argv)
    assert "usage: ddcal" in capsys.readouterr().err


def test_worker_runs_one_job_at_a_time_on_its_queues():
    """The worker's command: Celery's prefork pool of one, on the queues asked for."""
    words = " ".join(worker_argv("gpu,intake"))
    assert "celery --quiet -A worker.supervisor.celery_app worker -P prefork -c 1" in words
    assert "-Q gpu,intake -n gpu-intake-" in words
    assert worker_argv("gpu") != worker_argv("gpu")  # two workers on one host need two names


def test_who_reads_the_output_may_have_seen_enough(service):
    """As of any program before `head`: no complaint, and the status of a broken pipe."""
    url, _ = service
    reader, writer = os.pipe()
    os.close(reader)
    argv = [sys.executable, "-m", "app.cli.commands", "--url", url, "jobs", "--all"]
    ended = subprocess.run(argv, stdout=writer, stderr=subprocess.PIPE, check=False, timeout=60)
    os.close(writer)
    assert (ended.returncode, ended.stderr) == (141, b"")
