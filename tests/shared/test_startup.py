"""What a process does first: its files are its own user's alone."""

import os
import stat
import subprocess
import sys

import pytest

from app.shared.settings import SettingsError
from app.shared.startup import private_folder
from tests.file_modes import open_to_others


def test_what_stood_open_is_closed(tmp_path):
    """Folders, files and pipes of earlier versions, however deep, lose what others could do."""
    folder = tmp_path / "data"
    (folder / "artifacts" / "job_1").mkdir(parents=True)
    (folder / "artifacts" / "job_1" / "digest").write_bytes(b"1")
    (folder / "ddcal.sqlite").write_bytes(b"2")
    os.mkfifo(folder / "artifacts" / "pipe")
    for path in (folder, *folder.rglob("*")):
        path.chmod(0o777 if path.is_dir() else 0o664)
    assert private_folder(folder) == []
    assert open_to_others(folder) == []
    assert stat.S_IMODE((folder / "ddcal.sqlite").stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_what_is_not_ours_stays_as_it_is(tmp_path):
    """A home that somebody has named as the data folder is not closed; what is ours in it is."""
    for name in ("public_html", "logs"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_bytes(b"1")
    for path in (tmp_path, *tmp_path.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)
    (told,) = private_folder(tmp_path)
    assert told == (
        f"{tmp_path} holds files that are not ddcal's, such as public_html: "
        "its own permissions stay drwxr-xr-x"
    )
    page = tmp_path / "public_html" / "file"
    assert open_to_others(tmp_path) == [str(path) for path in (tmp_path, page.parent, page)]


def test_links_lead_nowhere(tmp_path):
    """What a link points at lies elsewhere, and is not ours to close."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    elsewhere.chmod(0o755)  # whatever the umask is
    (elsewhere / "file").write_bytes(b"1")
    (elsewhere / "file").chmod(0o644)
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "named").symlink_to(elsewhere)
    (folder / "torch").symlink_to(folder / "nothing")
    assert private_folder(folder) == []
    assert len(open_to_others(elsewhere)) == 2


def test_a_new_folder_is_private(tmp_path):
    """Whatever the umask is."""
    private_folder(tmp_path / "new" / "data")
    assert open_to_others(tmp_path / "new" / "data") == []


def test_a_folder_that_cannot_be_is_said(tmp_path):
    """A file stands where the data folder is to be."""
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(SettingsError, match=r"data folder .*file: "):
        private_folder(tmp_path / "file")
    with pytest.raises(SettingsError, match=r"data folder .*data: "):
        private_folder(tmp_path / "file" / "data")


@pytest.mark.long
@pytest.mark.parametrize("module", ["app.server", "app"])
def test_migrate_leaves_nothing_open(tmp_path, module):
    """The database and its folders, from the command and from the module that it becomes."""
    folder = tmp_path / "data"
    argv = [sys.executable, "-m", module, "migrate"]
    environment = {**os.environ, "DDCAL_DATA_FOLDER": str(folder)}
    if module == "app.server":
        folder.mkdir(mode=0o700)
    subprocess.run(argv, env=environment, check=True, umask=0, timeout=120, capture_output=True)
    assert (folder / "ddcal.sqlite").exists()
    assert open_to_others(folder) == []
