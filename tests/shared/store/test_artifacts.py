"""The artifact store keeps whole files by their hash, or nothing."""

import hashlib
import os
from pathlib import Path

import pytest

from app.shared.store.artifacts import ArtifactStore


@pytest.fixture
def store(tmp_path: Path) -> ArtifactStore:
    """An empty store."""
    return ArtifactStore(tmp_path / "artifacts")


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
    store.take_over("job_1", "job_2", path.name)
    assert told[3:] == [("synced", store.path("job_2", path.name).parent.stat().st_ino)]
