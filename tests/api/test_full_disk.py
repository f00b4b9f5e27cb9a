"""Uploads that the disk has no room for: refused in words, and nothing is left behind."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from app.api.http.uploads import WRITE_BYTES
from app.shared.settings import Settings
from app.shared.store.disk import free_bytes, has_room
from tests.api.serving import problem, running_api
from tests.waiting import until

ZIP = {"Content-Type": "application/zip"}


@pytest.mark.parametrize("address", ["/v1/datasets", "/v1/logits"])
@pytest.mark.parametrize("is_declared", [True, False])
def test_an_upload_below_the_floor_is_507(migrated_sqlite, tmp_path, address, is_declared):
    """By its declared length, or when its bytes come."""
    database = tmp_path / "ddcal.sqlite"
    shutil.copyfile(migrated_sqlite, database)
    floor = free_bytes(tmp_path) + 2**30  # however much others free meanwhile
    url = f"sqlite:///{database}"
    settings = Settings(data_folder=tmp_path, database_url=url, min_free_bytes=floor)
    with running_api(settings) as api:
        body = b"x" * 100 if is_declared else iter([b"x" * 100])
        params = {"name": "mine"}
        answer = api.client.post(address, params=params, content=body, headers=ZIP)
        refusal = problem(answer, 507)
        assert refusal["code"] == "disk_full"
        assert "DDCAL_MIN_FREE_BYTES" in refusal["detail"]
        assert api.uploads() == []
        assert api.n_jobs() == 0


def test_a_disk_that_fills_up_while_an_upload_streams_is_507(
    migrated_sqlite, tmp_path, monkeypatch
):
    """There is room for what was declared; others take it while the bytes come."""
    database, free = tmp_path / "ddcal.sqlite", [2**30]
    shutil.copyfile(migrated_sqlite, database)
    monkeypatch.setattr("app.shared.store.disk.free_bytes", lambda _folder: free[0])
    url = f"sqlite:///{database}"
    settings = Settings(data_folder=tmp_path, database_url=url, min_free_bytes=2**29)

    def body():
        yield b"x" * WRITE_BYTES
        until(api.uploads)  # what was declared has been let in
        free[0] = 2**29 + WRITE_BYTES // 2
        yield b"x" * WRITE_BYTES

    with running_api(settings) as api:
        headers = {**ZIP, "Content-Length": str(2 * WRITE_BYTES)}
        answer = api.client.post(
            "/v1/datasets", params={"name": "mine"}, content=body(), headers=headers
        )
        assert problem(answer, 507)["code"] == "disk_full"
        assert api.uploads() == []


def test_an_upload_is_on_the_disk_before_it_is_answered(migrated_sqlite, tmp_path, monkeypatch):
    """Its bytes are synced while no row speaks of it yet."""
    database, synced, fsync = tmp_path / "ddcal.sqlite", [], os.fsync
    shutil.copyfile(migrated_sqlite, database)

    def watched(descriptor):
        synced.append(os.fstat(descriptor).st_size)
        fsync(descriptor)

    settings = Settings(data_folder=tmp_path, database_url=f"sqlite:///{database}")
    with running_api(settings) as api:
        monkeypatch.setattr("app.api.http.uploads.os.fsync", watched)
        answer = api.client.post(
            "/v1/datasets", params={"name": "mine"}, content=b"x" * 1234, headers=ZIP
        )
        problem(answer, 422)  # it is no zip: seen once it lies there
        assert 1234 in synced


def test_room_is_what_is_left_above_the_floor(tmp_path):
    """Also of a data folder that is still to be made."""
    free = free_bytes(tmp_path)
    settings = Settings(data_folder=tmp_path / "not" / "yet", min_free_bytes=free // 2)
    assert has_room(settings)
    assert has_room(settings, free // 4)
    assert not has_room(settings, free)


# In a mount namespace of its own: argv is the folder, then a migrated database.
ON_A_SMALL_DISK = """
import errno, json, shutil, subprocess, sys
from pathlib import Path
from app.api.http.uploads import Sink
from app.shared.settings import Settings
from tests.api.serving import running_api
folder = Path(sys.argv[1])
subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "none", folder], check=True)
shutil.copyfile(sys.argv[2], folder / "ddcal.sqlite")
told = {}
with running_api(Settings(data_folder=folder, min_free_bytes=0)) as api:
    for name, body in (("declared", b"x" * 3_000_000), ("sent", iter([b"x" * 1_500_000] * 2))):
        answer = api.client.post("/v1/datasets", params={"name": "mine"}, content=body,
                                 headers={"Content-Type": "application/zip"})
        told[name] = [answer.status_code, answer.json()["code"], len(api.uploads())]
    sink = Sink(api.settings.upload_folder)
    try:
        sink.write(b"x" * 1000)
        sink.write(b"x" * 3_000_000)
    except OSError as error:
        told["errno"] = error.errno == errno.ENOSPC
        sink.discard()
    told["left"] = len(api.uploads())
    filler = (folder / "filler").open("wb", buffering=0)
    try:
        while filler.write(b"x" * 4096):
            pass
    except OSError:
        pass
    job = {"kind": "distill", "params": {"dataset": "digits"}}
    told["database"] = [api.client.post("/v1/jobs", json=job).status_code for _ in range(30)][-1]
    told["look"] = api.client.get("/v1/jobs").status_code
    (folder / "filler").unlink()
    filler.close()
    told["after"] = api.client.post("/v1/jobs", json=job).status_code
print(json.dumps(told))
"""


@pytest.fixture
def in_a_namespace():
    """The command that gives a program mounts of its own; most containers' may not."""
    command = ["unshare", "--mount", "--map-root-user"]
    if (
        shutil.which("unshare") is None
        or subprocess.run([*command, "true"], check=False).returncode
    ):
        pytest.skip("no mount namespaces here")
    return command


@pytest.mark.long
def test_a_disk_that_is_really_full_is_507_and_keeps_nothing(
    in_a_namespace, migrated_sqlite, tmp_path
):
    """A file system of 2 MB: by the declared length, by the bytes, and where the write fails.

    What the database cannot write is 503, and goes again once there is room.
    """
    folder, database = tmp_path / "small", tmp_path / "ddcal.sqlite"
    folder.mkdir()
    shutil.copyfile(migrated_sqlite, database)
    ran = subprocess.run(
        [*in_a_namespace, sys.executable, "-c", ON_A_SMALL_DISK, folder, database],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    assert json.loads(ran.stdout.splitlines()[-1]) == {
        "declared": [507, "disk_full", 0],
        "sent": [507, "disk_full", 0],
        "errno": True,
        "left": 0,
        "database": 503,
        "look": 200,
        "after": 202,
    }
