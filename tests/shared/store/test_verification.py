"""A file is hashed when a process first uses it, and again once it may have changed."""

import hashlib
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from app.shared.store.verification import N_LOCKS, TICK_NS, VerifiedFiles
from tests.damage import flip_a_bit
from tests.waiting import until

CONTENT = bytes(range(256)) * 9000  # three reads
SHA256 = hashlib.sha256(CONTENT).hexdigest()


def much_later() -> int:
    """A clock by which every file here was changed long ago."""
    return time.time_ns() + 10 * TICK_NS


class Reader:
    """Verified files of one process, and how often it has read."""

    def __init__(self, clock: Callable[[], int] = much_later, max_files: int = 100) -> None:
        self.files = VerifiedFiles(clock=clock, max_files=max_files)
        self.n_reads = 0

    def count(self) -> None:
        """One more MiB."""
        self.n_reads += 1

    def damage(self, path: Path, sha256: str = SHA256, *, is_anew: bool = False) -> str | None:
        """As this process sees it."""
        return self.files.damage(path, sha256, on_read=self.count, is_anew=is_anew)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A whole file."""
    (tmp_path / "file").write_bytes(CONTENT)
    return tmp_path / "file"


def test_a_file_is_read_once(path: Path) -> None:
    """A hard link changes its ctime: once more then, whatever the name."""
    reader = Reader()
    assert reader.damage(path) is None
    assert reader.n_reads == 3
    assert reader.damage(path) is None
    assert reader.n_reads == 3
    path.with_name("link").hardlink_to(path)
    assert reader.damage(path.with_name("link")) is None
    assert reader.damage(path) is None
    assert reader.n_reads == 6


def test_a_fresh_process_sees_a_flipped_bit(path: Path) -> None:
    """Though inode, size and mtime are as they were."""
    before = path.stat()
    flip_a_bit(path)
    after = path.stat()
    assert (before.st_ino, before.st_size, before.st_mtime_ns) == (
        after.st_ino,
        after.st_size,
        after.st_mtime_ns,
    )
    changed = hashlib.sha256(path.read_bytes()).hexdigest()
    assert Reader().damage(path) == f"its bytes have sha256 {changed}, not {SHA256}"


@pytest.mark.parametrize(
    "change",
    [
        flip_a_bit,
        lambda path: path.write_bytes(CONTENT + b"x"),
        lambda path: path.write_bytes(CONTENT[:-1]),
        lambda path: path.write_bytes(b""),
        lambda path: os.replace(_other(path), path),  # noqa: PTH105
    ],
    ids=["a bit", "longer", "shorter", "empty", "another file"],
)
def test_a_change_is_seen_by_a_process_that_has_verified_the_file(
    path: Path, change: Callable[[Path], object]
) -> None:
    """Size, mtime, inode or, where these are put back, ctime."""
    reader = Reader()
    assert reader.damage(path) is None
    time.sleep(0.02)  # a tick of the kernel's clock
    change(path)
    damage = reader.damage(path)
    assert damage is not None
    assert SHA256 in damage


def _other(path: Path) -> Path:
    other = path.with_name("other")
    other.write_bytes(CONTENT[::-1])
    return other


def test_a_file_of_this_moment_is_read_again(path: Path) -> None:
    """A second change within a tick of the file system's clock would leave the ctime as it is."""
    reader = Reader(clock=time.time_ns)
    assert reader.damage(path) is None
    assert reader.damage(path) is None
    assert reader.n_reads == 6


def test_what_is_put_back_is_whole_again(path: Path) -> None:
    """Damage is remembered no longer than the file stays as it is."""
    flip_a_bit(path)
    reader = Reader()
    assert reader.damage(path) is not None
    n_reads = reader.n_reads
    assert reader.damage(path) is not None
    assert reader.n_reads == n_reads
    backup = path.with_name("backup")
    backup.write_bytes(CONTENT)
    backup.replace(path)
    assert reader.damage(path) is None


def test_a_scrub_reads_what_was_read_before(path: Path) -> None:
    """It asks the disk, not what was seen."""
    reader = Reader()
    assert reader.damage(path) is None
    assert reader.damage(path, is_anew=True) is None
    assert reader.n_reads == 6


def test_what_is_no_file_is_missing(path: Path, tmp_path: Path) -> None:
    """Nothing, a folder, a pipe (without waiting for its writer), something below a file."""
    os.mkfifo(tmp_path / "pipe")
    for one in (tmp_path / "none", tmp_path, tmp_path / "pipe", path / "below"):
        assert Reader().damage(one) == "it is missing"


def test_what_cannot_be_read_now_is_not_called_damaged(path: Path) -> None:
    """Such as for a lack of file descriptors: an error of its own, to be tried again."""
    reader = Reader()

    def fail() -> None:
        raise OSError(24, "Too many open files")

    with pytest.raises(OSError, match="Too many"):
        reader.files.damage(path, SHA256, on_read=fail)
    assert reader.damage(path) is None


def test_a_sector_that_the_disk_cannot_read_is_damage(path: Path) -> None:
    """EIO is what the kernel says of it."""

    def fail() -> None:
        raise OSError(5, "Input/output error")

    assert VerifiedFiles().damage(path, SHA256, on_read=fail) == "the disk cannot read it"


def test_so_many_files_are_remembered_and_no_more(tmp_path: Path) -> None:
    """Those used last."""
    reader = Reader(max_files=2)
    sha256 = hashlib.sha256(b"x").hexdigest()
    for name in "abc":
        (tmp_path / name).write_bytes(b"x")
        assert reader.damage(tmp_path / name, sha256) is None
    for name, n_reads in (("c", 3), ("b", 3), ("a", 4), ("b", 4), ("c", 5)):
        assert reader.damage(tmp_path / name, sha256) is None
        assert (name, reader.n_reads) == (name, n_reads)


def test_threads_that_ask_for_one_file_read_it_once(path: Path) -> None:
    """The others wait for the first."""
    reader = Reader()
    said: list[str | None] = []
    threads = [threading.Thread(target=lambda: said.append(reader.damage(path))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert said == [None] * 8
    assert reader.n_reads == 3


def test_a_known_file_does_not_wait_for_one_that_is_being_read(tmp_path: Path) -> None:
    """A scrub reads a large file for minutes, and files share a few locks."""
    paths = [tmp_path / str(k) for k in range(N_LOCKS + 1)]
    for path in paths:
        path.write_bytes(CONTENT)
    locks = [path.stat().st_ino % N_LOCKS for path in paths]
    k = next(k for k, lock in enumerate(locks) if lock in locks[:k])
    known, read = paths[locks.index(locks[k])], paths[k]
    reader = Reader()
    assert reader.damage(known) is None
    said: list[str | None] = []

    def ask_for_the_other() -> None:
        thread = threading.Thread(target=lambda: said.append(reader.damage(known)))
        thread.start()
        until(lambda: said != [])

    assert reader.files.damage(read, SHA256, on_read=ask_for_the_other) is None
    assert set(said) == {None}
