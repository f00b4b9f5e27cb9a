"""A confined process reaches its folder and what it was given; each forbidden thing is tried."""

import json
import os
import socket
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import pytest

from ddcal_core.intake.job_messages import JobLine
from ddcal_core.intake.sandbox.confinement import Facilities, facilities, lacking
from ddcal_core.intake.sandbox.job_needs import MAX_BYTES_A_DECODED_ONE, needs_of

pytestmark = pytest.mark.skipif(
    facilities().landlock_abi < 6 or not facilities().has_filters,
    reason="wanted a kernel with Landlock's scopes and seccomp",
)

PROGRAM = """
import errno, json, os, pathlib, resource, socket, subprocess, sys, threading
from pathlib import Path
import ddcal_core
from ddcal_core.intake.sandbox.confinement import Facilities, Needs, confine

asked = json.loads(sys.argv[1])
folder = Path(asked["folder"])
needs = Needs(
    folder=folder,
    readable=(Path(asked["given"]),),
    network=asked["network"],
    max_file_bytes=10**6,
)
left = confine(needs, Facilities(**asked["offered"]))

def connected(family, address):
    with socket.socket(family, socket.SOCK_STREAM) as client:
        client.connect(address)

def told(address):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.sendto(b"x", address)

def in_a_thread():
    had = []
    thread = threading.Thread(target=lambda: had.append(1))
    thread.start(); thread.join()
    assert had

root = Path(ddcal_core.__file__).parents[1]
outside, address = Path(asked["outside"]), tuple(asked["address"])
(folder / "link").symlink_to(outside)
tried = {
    "writes its own": lambda: (folder / "new").write_text("x"),
    "renames its own": lambda: (folder / "new").rename(folder / "newer"),
    "reads what it was given": lambda: Path(asked["given"]).read_bytes(),
    "imports": lambda: __import__("sqlite3"),
    "reads our packages": lambda: (root / "worker/trainer/report/page/page.css").read_bytes(),
    "reads what lies beside them": lambda: (root / "README.md").read_bytes(),
    "starts a thread": in_a_thread,
    "has a pair of streams": socket.socketpair,
    "reads outside": outside.read_bytes,
    "follows a link outside": (folder / "link").read_bytes,
    "lists a folder outside": lambda: os.listdir(outside.parent),
    "overwrites outside": lambda: outside.open("r+b"),
    "truncates outside": lambda: os.truncate(outside, 0),
    "makes a file outside": lambda: outside.with_name("made").touch(),
    "overwrites what it was given": lambda: Path(asked["given"]).open("r+b"),
    "links what is outside": lambda: os.link(outside, folder / "hard"),
    "reads the parent's environment": Path(f"/proc/{os.getppid()}/environ").read_bytes,
    "reads the parent's memory": lambda: Path(f"/proc/{os.getppid()}/mem").open("rb"),
    "signals the parent": lambda: os.kill(os.getppid(), 0),
    "connects by TCP": lambda: connected(socket.AF_INET, address),
    "connects to a local socket": lambda: connected(socket.AF_UNIX, asked["local"]),
    "sends UDP": lambda: told(address),
    "makes a pair of datagrams": lambda: socket.socketpair(type=socket.SOCK_DGRAM),
    "writes a larger file than it may": lambda: (folder / "large").write_bytes(bytes(2 * 10**6)),
    "forks": lambda: os.fork() or os._exit(0),
    "starts a program": lambda: subprocess.run(["/bin/true"], check=True),
}
done = []
for name, does in tried.items():
    try:
        does()
    except PermissionError:
        continue
    except OSError as error:
        # Landlock says of a link that it crosses file systems.
        if error.errno not in {errno.EXDEV, errno.EFBIG}:
            raise
    else:
        done.append(name)
limits = [resource.getrlimit(one) for one in (resource.RLIMIT_CORE, resource.RLIMIT_NOFILE)]
status = Path("/proc/self/status").read_text().splitlines()
held = next(line.split()[1] for line in status if line.startswith("CapEff"))
print(json.dumps({"done": done, "left": left, "limits": limits, "capabilities": int(held, 16),
                  "temporary": os.environ["TMPDIR"]}))
"""
ALLOWED = {
    *("writes its own", "renames its own", "reads what it was given", "imports"),
    *("reads our packages", "starts a thread", "has a pair of streams"),
}
PROCESSES = {"reads the parent's environment", "reads the parent's memory"}
FILES_AND_PROCESSES = {
    *("reads outside", "follows a link outside", "lists a folder outside", "overwrites outside"),
    *("truncates outside", "makes a file outside", "overwrites what it was given"),
    *("links what is outside", "reads what lies beside them"),
    *PROCESSES,
}
SIGNALS = {"signals the parent"}
TCP = {"connects by TCP"}
OTHER_SOCKETS = {"connects to a local socket", "sends UDP", "makes a pair of datagrams"}
CHILDREN = {"forks", "starts a program"}
CAP_DAC_OVERRIDE = 1 << 1


class World:
    """What a confined process may and may not reach."""

    def __init__(self, folder: Path) -> None:
        self.work, self.given = folder / "work", folder / "given" / "upload"
        self.outside = folder / "other" / "secret"
        for path in (self.work, self.given.parent, self.outside.parent):
            path.mkdir()
        self.given.write_text("given")
        self.outside.write_text("secret")
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.local = socket.socket(socket.AF_UNIX)
        self.local_path = folder / "s"
        # Its whole name may be too long for a socket.
        before = Path.cwd()
        os.chdir(folder)
        self.local.bind("s")
        os.chdir(before)
        self.local.listen()

    def tried(self, offered: Facilities, *, network: bool = False) -> dict[str, object]:
        """What a program that confines itself can do."""
        asked = {
            "folder": str(self.work),
            "given": str(self.given),
            "outside": str(self.outside),
            "address": self.listener.getsockname(),
            "local": os.path.relpath(self.local_path),
            "network": network,
            "offered": asdict(offered),
        }
        argv = [sys.executable, "-c", PROGRAM, json.dumps(asked)]
        ended = subprocess.run(argv, capture_output=True, text=True, timeout=120, check=False)
        assert ended.returncode == 0, ended.stderr
        found: dict[str, object] = json.loads(ended.stdout)
        return found

    def close(self) -> None:
        """Listen no more."""
        self.listener.close()
        self.local.close()


@pytest.fixture
def world(tmp_path):
    """Folders, files, and servers that listen."""
    made = World(tmp_path)
    yield made
    made.close()


def test_a_confined_process_reaches_nothing_but_its_own(world):
    """Files, links, other processes, sockets of all kinds; it lives on alone."""
    found = world.tried(facilities())
    assert set(found["done"]) == ALLOWED
    assert found["left"] == []
    assert found["temporary"] == str(world.work)
    assert found["limits"][0] == [0, 0]
    assert found["limits"][1][1] <= 1024
    assert found["capabilities"] & ~CAP_DAC_OVERRIDE == 0
    assert world.outside.read_text() == "secret"


def test_one_that_fetches_has_the_network_and_nothing_else(world):
    """A named data set that is to be downloaded."""
    found = world.tried(facilities(), network=True)
    assert set(found["done"]) == ALLOWED | TCP | OTHER_SOCKETS


@pytest.mark.parametrize(
    ("offered", "reached"),
    [
        (Facilities(5, has_filters=True), SIGNALS),
        (Facilities(4, has_filters=False), SIGNALS | OTHER_SOCKETS | CHILDREN),
        (Facilities(3, has_filters=False), SIGNALS | TCP | OTHER_SOCKETS | CHILDREN),
        (Facilities(1, has_filters=True), SIGNALS | {"truncates outside"}),
    ],
)
def test_what_an_older_kernel_lacks_is_told(world, offered, reached):
    """All else is still denied."""
    found = world.tried(offered)
    assert set(found["done"]) == ALLOWED | reached
    assert found["left"] == list(lacking(offered)) != []


def test_without_landlock_other_processes_of_root_are_still_closed(world):
    """Its other capabilities are gone, and with them the right to look into what has more."""
    found = world.tried(Facilities(0, has_filters=True))
    assert "files and processes" in found["left"][0]
    if os.geteuid() == 0:
        assert set(found["done"]) == ALLOWED | SIGNALS | (FILES_AND_PROCESSES - PROCESSES)


def test_nothing_is_lacking_here():
    """What is told at the start of a worker on this machine."""
    assert lacking(facilities()) == ()
    assert len(lacking(Facilities(0, has_filters=False))) == 3


def job_line(folder, inputs, **values):
    """A job's line."""
    return JobLine(
        kind="train",
        job_id="job_1",
        params={},
        inputs=inputs,
        work_folder=folder / "work",
        log_file=folder / "log",
        threads=1,
        **values,
    )


def test_a_job_needs_what_its_line_names(tmp_path):
    """Files by their keys, folders of its checkpoint and pictures; named sets where they lie."""
    named = {"source": "named", "named_folder": str(tmp_path / "named"), "allow_downloads": False}
    inputs = {
        "dataset": {**named, "train_path": "/a/train", "test_path": None},
        "models": [{"path": "/a/model", "config": {"space": "/no/path"}}],
        "distilled_sets": {"set_1": {"path": "/a/set"}},
    }
    checkpoint = tmp_path / "checkpoints" / "job_1" / "file"
    snapshots = tmp_path / "snapshots" / "job_1" / "3"
    needs = needs_of(job_line(tmp_path, inputs, checkpoint=checkpoint, snapshots=snapshots))
    assert set(needs.readable) == {
        *map(Path, ("/a/train", "/a/model", "/a/set")),
        tmp_path / "named",
    }
    assert needs.writable == (checkpoint.parent, snapshots)
    assert needs.folder == tmp_path / "work"
    assert (needs.network, needs.max_file_bytes) == (False, None)


def test_only_a_job_that_may_fetch_its_data_has_a_network(tmp_path):
    """It may write where named data sets lie; an upload's job is told the setting, too."""
    named = {"named_folder": str(tmp_path / "named"), "allow_downloads": True}
    fetching = needs_of(job_line(tmp_path, {"dataset": {"source": "named", **named}}))
    assert fetching.network
    assert fetching.writable == (tmp_path / "named",)
    assert not needs_of(job_line(tmp_path, {"dataset": {"source": "upload", **named}})).network


def test_an_intake_s_files_have_a_limit(tmp_path):
    """By what may come out of an upload."""
    needs = needs_of(job_line(tmp_path, {"upload_path": "/a/u", "max_decoded_bytes": 10**9}))
    assert needs.readable == (Path("/a/u"),)
    assert 0 <= needs.max_file_bytes - MAX_BYTES_A_DECODED_ONE * 10**9 < 10**8
