"""`ddcal check`: what it prints, and its exit status."""

import hashlib
import json
import shutil
import socket

import pytest

from app.check import main
from app.embedded.local_service import hold
from app.shared.engine import runs
from app.shared.engine.jobs import insert_job
from app.shared.settings import Settings
from app.shared.store.artifacts import ArtifactStore
from app.shared.store.catalog import record_artifact, record_result
from app.shared.store.database import open_database
from app.shared.store.job_records import Ending, NewJob
from app.shared.upkeep.confinement import not_kept_from
from ddcal.local_service import ADDRESS_FILE
from tests.api.serving import running_api
from tests.damage import flip_a_bit
from tests.services import run_ddcal

LEFT = "; ".join(not_kept_from(Settings()))
CONFINED = "the jobs of this machine: " + (
    f"not kept from {LEFT}" if LEFT else "each is confined to its own files"
)


@pytest.fixture
def folder(migrated_sqlite, tmp_path, monkeypatch):
    """A data folder with one file of one job."""
    folder = tmp_path / "data"
    folder.mkdir()
    shutil.copyfile(migrated_sqlite, folder / "ddcal.sqlite")
    monkeypatch.setenv("DDCAL_DATA_FOLDER", str(folder))
    database = open_database(Settings())
    (tmp_path / "manifest.json").write_bytes(b"{}")
    with database.write() as connection:
        job = NewJob(kind="distill", params={"dataset": "digits"}, queue="gpu")
        insert_job(connection, "local", job)
        run = runs.claim_next(connection, queue="gpu", worker="w", lease_seconds=60)
        values = {"dataset": "digits", "method": "dm", "images_per_class": 1}
        set_id = record_result(connection, run, "distilled_set", values)
        stored = ArtifactStore(folder / "artifacts").put(run.id, tmp_path / "manifest.json")
        record_artifact(
            connection, run, set_id, name="manifest.json", media_type="application/json",
            sha256=stored.sha256, n_bytes=stored.n_bytes,
        )  # fmt: skip
        runs.succeed(connection, run, Ending())
    database.close()
    return folder


def stored_file(folder):
    """The one file."""
    (path,) = (folder / "artifacts").glob("*/*")
    return path


def test_what_is_whole_is_counted(folder, capsys):
    """Exit 0."""
    assert main() == 0
    assert capsys.readouterr().out.splitlines() == [
        "the database: every page, index and foreign key was checked",
        "the files: 1 of 2 bytes; damaged: 0",
        CONFINED,
        f"the service: not running on {folder}, so not asked",
    ]


def test_what_jobs_are_not_kept_from_is_told(folder, monkeypatch, capsys):
    """Nobody believes in a sandbox that is not there, nor is a service without one damaged."""
    monkeypatch.setenv("DDCAL_CONFINE_JOBS", "0")
    assert main() == 0
    told = "the jobs of this machine: not kept from anything: DDCAL_CONFINE_JOBS is off"
    assert told in capsys.readouterr().out.splitlines()


@pytest.mark.long
def test_a_damaged_file_is_named(folder, capsys):
    """Exit 1; also as people call it."""
    flip_a_bit(stored_file(folder))
    assert main() == 1
    _, damaged, summary, *_ = capsys.readouterr().out.splitlines()
    assert damaged.startswith("damaged: manifest.json of set_")
    assert hashlib.sha256(b"{}").hexdigest() in damaged
    assert summary == "the files: 1 of 2 bytes; damaged: 1"
    ran = run_ddcal("check", "--data-folder", folder, folder=folder.parent)
    assert (ran.returncode, ran.stdout.splitlines()[1]) == (1, damaged)


def test_a_damaged_database_is_told_and_its_rows_are_not_relied_on(folder, capsys):
    """Exit 1, and no file is looked at by what it says."""
    path = folder / "ddcal.sqlite"
    path.write_bytes(path.read_bytes()[:8192] + b"\xff" * 8192 + path.read_bytes()[16384:])
    assert main() == 1
    told = capsys.readouterr().out
    assert told.startswith("damaged: the database: ")
    assert told.endswith("no file was verified: the database comes first\n")


def test_a_database_without_tables_is_told_of(tmp_path, monkeypatch, capsys):
    """As by `ddcal housekeeping`."""
    monkeypatch.setenv("DDCAL_DATA_FOLDER", str(tmp_path))
    assert main() == 1
    assert "ddcal migrate" in capsys.readouterr().err


def test_where_there_is_no_data_none_is_made(tmp_path, monkeypatch, capsys):
    """The folder that was looked for is named."""
    monkeypatch.setenv("DDCAL_DATA_FOLDER", str(tmp_path / "new"))
    assert main() == 1
    assert str(tmp_path / "new") in capsys.readouterr().err
    assert not (tmp_path / "new").exists()


@pytest.mark.long
def test_json_for_programs(folder, capsys):
    """The same, by what it is."""
    flip_a_bit(stored_file(folder))
    ran = run_ddcal("check", "--json", "--data-folder", folder, folder=folder.parent)
    assert ran.returncode == 1
    found = json.loads(ran.stdout)
    (damaged,) = found["damaged"]
    assert damaged.startswith("manifest.json of set_")
    assert found["degraded"] == []
    assert found["summary"][1] == "the files: 1 of 2 bytes; damaged: 1"


def test_a_service_that_is_degraded_is_told_of(folder, monkeypatch, capsys):
    """Exit 1: the broker that the settings name is away."""
    monkeypatch.setenv("DDCAL_REDIS_URL", f"redis+socket://{folder}/nobody.sock")
    assert main() == 1
    *_, broker, summary = capsys.readouterr().out.splitlines()
    assert broker.startswith("degraded: broker: jobs begin late")
    assert summary == "the service: degraded"


def test_a_running_service_is_asked_itself(folder, capsys):
    """Serve's broker is known to its API alone; ended, or not answering, it is told of."""
    away = f"redis+socket://{folder}/nobody.sock"
    settings = Settings(redis_url=away, database_url=f"sqlite:///{folder / 'ddcal.sqlite'}")
    with hold(folder), running_api(settings) as api:
        (folder / ADDRESS_FILE).write_text(str(api.client.base_url))
        assert main() == 1
        assert "degraded: broker: jobs begin late" in capsys.readouterr().out
        with socket.create_server(("127.0.0.1", 0)) as nobody:
            port = nobody.getsockname()[1]
        (folder / ADDRESS_FILE).write_text(f"http://127.0.0.1:{port}")
        assert main() == 1
        assert f"the API at http://127.0.0.1:{port} does not answer" in capsys.readouterr().out
