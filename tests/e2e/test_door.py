"""`ddcal serve` as people start it: it makes a key, lets its own user in, and nobody else."""

import contextlib
import os
import re
import stat
from pathlib import Path

import httpx
import psutil
import pytest

from app.shared.startup import private_folder
from tests.file_modes import open_to_others
from tests.services import TINY_DISTILL, run_ddcal, running_service
from tests.waiting import until

JOB = '{"kind": "distill", "params": {"dataset": "digits", "distill": %s}}'


@pytest.fixture(scope="module")
def keyed(tmp_path_factory):
    """A service that has made its key, on a data folder that an earlier version left open."""
    folder = tmp_path_factory.mktemp("home") / "ddcal-data"
    (folder / "artifacts" / "job_1").mkdir(parents=True, mode=0o755)
    (folder / "artifacts" / "job_1" / "digest").write_bytes(b"1")
    (folder / "artifacts" / "job_1" / "digest").chmod(0o644)
    folder.chmod(0o755)
    with contextlib.ExitStack() as stack:
        before = os.umask(0)
        try:
            running = stack.enter_context(running_service(folder, DDCAL_NO_KEY="0"))
        finally:
            os.umask(before)
        yield running


def ddcal(service, *arguments, folder):
    """A command in another shell, in the folder where serve was started; it has to succeed."""
    ended = run_ddcal(*arguments, folder=folder)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def test_another_shell_needs_nothing(keyed, tmp_path):
    """Submit and download find address and key by themselves; all that is written is private."""
    home = keyed.folder.parent
    (tmp_path / "job.json").write_text(JOB % str(TINY_DISTILL).replace("'", '"'))
    told = ddcal(keyed, "submit", tmp_path / "job.json", "--watch", folder=home)
    job_id = told.split()[0]
    out = tmp_path / "out"
    files = ddcal(keyed, "download", job_id, "--out", out, folder=home).split()
    assert all(Path(name).exists() for name in files)
    assert open_to_others(keyed.folder) == []
    sockets = [path.name for path in keyed.folder.rglob("*") if stat.S_ISSOCK(path.stat().st_mode)]
    assert "redis.sock" in sockets
    assert private_folder(keyed.folder) == []  # so nothing in it has a name that is not ours


def test_the_key_is_for_curl_and_opens_what_nothing_else_does(keyed):
    """Without it: 401, or the login."""
    key = ddcal(keyed, "key", folder=keyed.folder.parent).strip()
    assert len(key) == 43
    url = f"{keyed.url}/v1/jobs"
    with httpx.Client(trust_env=False) as client:
        assert client.get(url).status_code == 401
        assert client.get(url, headers={"Authorization": f"Bearer {key}x"}).status_code == 401
        assert client.get(url, headers={"Authorization": f"Bearer {key}"}).status_code == 200
        assert client.get(url, auth=("me", key)).status_code == 200
        assert client.get(f"{keyed.url}/").headers["location"] == "/login"


def test_the_printed_address_works_once(keyed):
    """A browser that opens it is in; the next one is not."""
    told = (keyed.folder / "logs" / "serve.log").read_text()
    (address,) = re.findall(r"in a browser: +(\S+)", told)
    assert address.startswith(f"{keyed.url}/login?token=")
    with httpx.Client(trust_env=False, follow_redirects=True) as browser:
        page = browser.get(address)
        assert (page.status_code, page.url.path) == (200, "/")
        assert "Log out" in page.text
    with httpx.Client(trust_env=False, follow_redirects=True) as another:
        assert another.get(address).status_code == 403


def test_the_key_is_in_no_command_line_and_in_one_environment(keyed):
    """The API's own; worker, intake, broker and what they start do not have it."""
    key = ddcal(keyed, "key", folder=keyed.folder.parent).strip()
    until(lambda: keyed.child("-Q gpu") is not None, seconds=120)
    processes = [psutil.Process(pid) for pid in keyed.pids()]
    assert len(processes) >= 5
    assert not any(key in word for one in processes for word in one.cmdline())
    knowing = [one.pid for one in processes if key in one.environ().values()]
    assert knowing == [keyed.child("app.server api")]


def test_the_key_is_in_no_log(keyed):
    """Neither serve's own nor that of a part."""
    key = ddcal(keyed, "key", folder=keyed.folder.parent).strip()
    logs = list((keyed.folder / "logs").iterdir())
    assert len(logs) >= 5
    assert not any(key in log.read_text() for log in logs)


def test_a_key_of_ones_own_is_used_and_a_broken_file_is_named(tmp_path):
    """DDCAL_API_KEY wins, and is not written down; an empty key file starts nothing."""
    key = "a-key-that-somebody-has-set"
    folder = tmp_path / "data"
    with running_service(folder, DDCAL_NO_KEY="0", DDCAL_API_KEY=key) as running:
        given = {"Authorization": f"Bearer {key}"}
        assert httpx.get(f"{running.url}/v1/jobs", headers=given).status_code == 200
    assert not (folder / "api-key").exists()
    (folder / "api-key").write_text("\n")
    ended = run_ddcal("serve", "--data-folder", folder, "--port", "0")
    assert ended.returncode == 2
    assert (
        ended.stderr
        == f"ddcal: {folder}/api-key holds no usable key: delete it, and serve makes one\n"
    )
