"""The artifact store keeps whole files by their hash, or nothing."""

import hashlib
import os
from datetime import UTC, datetime
from pathlib import Path

import pytest

from app.shared.errors import DamagedFileError
from app.shared.store.artifacts import CHUNK_BYTES, SYNC_BYTES, ArtifactStore, StoredFile
from app.shared.store.catalog import Artifact
from app.shared.store.verification import VerifiedFiles
from tests.damage import flip_a_bit


@pytest.fixture
def store(tmp_path: Path) -> ArtifactStore:
    """An empty store."""
    return ArtifactStore(tmp_path / "artifacts")


def put(store: ArtifactStore, tmp_path: Path, resource_id: str = "mdl_1") -> Artifact:
    """A file of job_1, as its row has it."""
    (tmp_path / "made.bin").write_bytes(b"same")
    stored = store.put("job_1", tmp_path / "made.bin")
    return Artifact(
        id="art_1",
        job_id="job_1",
        resource_id=resource_id,
        name="model.safetensors",
        media_type="a/b",
        sha256=stored.sha256,
        n_bytes=stored.n_bytes,
        created_at=datetime.now(UTC),
    )


def files_below(folder: Path) -> list[str]:
    """Names of all files, hidden ones too."""
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


def test_a_file_comes_back_under_its_hash(store: ArtifactStore, tmp_path: Path) -> None:
    """The name is the sha256 of the bytes."""
    content = bytes(range(256)) * 9000
    (tmp_path / "made.bin").write_bytes(content)

    stored = store.put("job_1", tmp_path / "made.bin")

    assert stored.sha256 == hashlib.sha256(content).hexdigest()
    assert stored.n_bytes == len(content)
    assert store.path("job_1", stored.sha256).read_bytes() == content
    assert files_below(tmp_path / "artifacts") == [stored.sha256]


def test_the_same_bytes_twice_are_one_file(store: ArtifactStore, tmp_path: Path) -> None:
    """Putting is idempotent."""
    (tmp_path / "made.bin").write_bytes(b"same")

    assert store.put("job_1", tmp_path / "made.bin") == store.put("job_1", tmp_path / "made.bin")

    assert len(files_below(tmp_path / "artifacts")) == 1


def test_what_cannot_be_read_leaves_nothing(store: ArtifactStore, tmp_path: Path) -> None:
    """A failed put leaves no half file and no temporary one."""
    with pytest.raises(FileNotFoundError):
        store.put("job_1", tmp_path / "missing.bin")

    assert files_below(tmp_path / "artifacts") == []


def test_deleting_a_job_deletes_its_files_alone(store: ArtifactStore, tmp_path: Path) -> None:
    """The same bytes of another job stay; deleting twice is no error."""
    (tmp_path / "made.bin").write_bytes(b"same")
    first = store.put("job_1", tmp_path / "made.bin")
    store.put("job_2", tmp_path / "made.bin")

    store.delete_job("job_1")
    store.delete_job("job_1")

    assert not store.path("job_1", first.sha256).exists()
    assert store.path("job_2", first.sha256).exists()


def test_a_file_is_on_the_disk_before_its_name(
    store: ArtifactStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its bytes are synced, then it gets its name, then its folder is synced."""
    (tmp_path / "made.bin").write_bytes(b"bytes")
    told, fsync, rename = [], os.fsync, Path.rename

    def watched_fsync(descriptor: int) -> None:
        told.append(("synced", os.fstat(descriptor).st_ino))
        fsync(descriptor)

    def watched_rename(path: Path, target: Path) -> Path:
        told.append(("named", path.stat().st_ino))
        return rename(path, target)

    monkeypatch.setattr(os, "fsync", watched_fsync)
    monkeypatch.setattr(Path, "rename", watched_rename)
    path = store.path("job_1", store.put("job_1", tmp_path / "made.bin").sha256)

    file, folder = path.stat().st_ino, path.parent.stat().st_ino
    assert told == [("synced", file), ("named", file), ("synced", folder)]


def test_a_large_file_is_synced_as_it_is_written(
    store: ArtifactStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or the one sync at its end could take longer than a lease; each MiB is told of."""
    (tmp_path / "made.bin").write_bytes(bytes(3 * SYNC_BYTES // 2))
    told, fsync = [], os.fsync

    def watched(descriptor: int) -> None:
        told.append(os.fstat(descriptor).st_size)
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", watched)
    n_read: list[int] = []
    store.put("job_1", tmp_path / "made.bin", on_read=lambda: n_read.append(1))

    assert told[:2] == [SYNC_BYTES, 3 * SYNC_BYTES // 2]
    assert sum(n_read) == 3 * SYNC_BYTES // 2 // CHUNK_BYTES


def test_two_runs_of_equal_pids_do_not_write_one_file(store: ArtifactStore, tmp_path: Path) -> None:
    """Workers in containers have the same pids, and a lost one may still be at it."""
    ours, theirs = tmp_path / "made.bin", tmp_path / "other" / "made.bin"
    theirs.parent.mkdir()
    ours.write_bytes(b"ours" * CHUNK_BYTES)
    theirs.write_bytes(b"theirs" * CHUNK_BYTES)
    others: list[StoredFile] = []

    def meanwhile() -> None:
        if not others:
            others.append(store.put("job_1", theirs))

    stored = [store.put("job_1", ours, on_read=meanwhile), *others]

    for one in stored:
        content = store.path("job_1", one.sha256).read_bytes()
        assert hashlib.sha256(content).hexdigest() == one.sha256


def test_a_file_is_taken_over_as_it_is(store: ArtifactStore, tmp_path: Path) -> None:
    """One file under two names; no temporary one stays; what stood there is replaced."""
    file = put(store, tmp_path)
    store.take_over(file, "job_2")
    taken = store.path("job_2", file.sha256)
    assert taken.samefile(store.path("job_1", file.sha256))
    taken.unlink()
    taken.write_bytes(b"from an earlier attempt, and damaged since")

    store.take_over(file, "job_2")
    store.take_over(file, "job_2")

    assert taken.read_bytes() == b"same"
    assert files_below(tmp_path / "artifacts") == [file.sha256] * 2


def test_without_links_a_file_is_copied(
    store: ArtifactStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a file system that has none, or has too many of this file."""

    def refuse(*_: object) -> None:
        raise OSError(31, "Too many links")

    file = put(store, tmp_path)
    monkeypatch.setattr(os, "link", refuse)
    store.take_over(file, "job_2")

    taken = store.path("job_2", file.sha256)
    assert taken.read_bytes() == b"same"
    assert not taken.samefile(store.path("job_1", file.sha256))


def test_a_damaged_file_is_neither_given_out_nor_taken_over(
    store: ArtifactStore, tmp_path: Path
) -> None:
    """The error names the file, whose it is, and what to do."""
    file = put(store, tmp_path)
    assert store.verified(file) == store.path("job_1", file.sha256)
    flip_a_bit(store.path("job_1", file.sha256))
    anew = ArtifactStore(tmp_path / "artifacts", VerifiedFiles())

    for use in (anew.verified, lambda file: anew.take_over(file, "job_2")):
        with pytest.raises(DamagedFileError) as caught:
            use(file)
        told = r"model.safetensors of mdl_1 is damaged: its bytes have sha256 "
        assert caught.value.detail.startswith(told)
        assert "submit the request of job_1, or of its pipeline, again" in caught.value.detail
    assert files_below(tmp_path / "artifacts") == [file.sha256]


def test_a_lost_file_of_an_upload_says_to_upload_it_again(
    store: ArtifactStore, tmp_path: Path
) -> None:
    """No job computes it anew."""
    file = put(store, tmp_path, "data_1")
    store.delete_job("job_1")
    with pytest.raises(DamagedFileError, match="it is missing; delete the upload and send"):
        store.verified(file)
