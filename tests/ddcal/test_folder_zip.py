"""A folder becomes a zip as zipfile reads it."""

import os
import zipfile

import pytest

from ddcal.folder_zip import zip_of_folder


def test_files_are_packed_in_order_under_their_names(tmp_path):
    """Hidden ones are left out; a link to a file is the file; the zip is gone afterwards."""
    folder = tmp_path / "my images"
    for name in ("b/2.png", "b/10.png", "a/ü.jpg", ".git/HEAD", "b/.DS_Store"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(name.encode())
    (folder / "a/link.png").symlink_to(folder / "b/2.png")
    os.utime(folder / "b/2.png", (0, 0))  # before zip's first year
    with zip_of_folder(folder) as path:
        with zipfile.ZipFile(path) as archive:
            packed = {name: archive.read(name) for name in archive.namelist()}
            kinds = {info.compress_type for info in archive.infolist()}
            modes = {info.external_attr >> 28 for info in archive.infolist()}
        assert list(packed) == ["a/link.png", "a/ü.jpg", "b/10.png", "b/2.png"]
        assert packed["a/link.png"] == packed["b/2.png"] == b"b/2.png"
        assert kinds == {zipfile.ZIP_STORED}
        assert modes == {0o10}
    assert not path.exists()


def test_a_link_to_a_folder_is_refused(tmp_path):
    """It may lead back to where it lies."""
    (tmp_path / "a").mkdir()
    (tmp_path / "a/round").symlink_to(tmp_path)
    with pytest.raises(OSError, match="got a link to one"), zip_of_folder(tmp_path):
        pass


def test_a_name_that_is_no_text_is_refused(tmp_path):
    """Such as Linux allows."""
    (tmp_path / os.fsdecode(b"caf\xe9.png")).write_bytes(b"x")
    with pytest.raises(OSError, match="wanted a name in UTF-8"), zip_of_folder(tmp_path):
        pass
