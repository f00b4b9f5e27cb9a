"""`ddcal housekeeping`: the table it prints, and that looking changes nothing."""

import json
import shutil

import pytest

from app.housekeeping import main
from tests.services import run_ddcal


@pytest.fixture
def folder(migrated_sqlite, tmp_path, monkeypatch):
    """A data folder with a scratch folder of no run and a checkpoint of no job: 10 bytes."""
    shutil.copyfile(migrated_sqlite, tmp_path / "ddcal.sqlite")
    monkeypatch.setenv("DDCAL_DATA_FOLDER", str(tmp_path))
    for name in (f"work/job_{'0' * 26}-1/file", f"checkpoints/job_{'0' * 26}/file"):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_bytes(b"12345")
    return tmp_path


def table(text):
    """Count and bytes by rule."""
    lines = [line.rsplit(maxsplit=2) for line in text.splitlines()]
    return {rule: (n, n_bytes) for rule, n, n_bytes in lines}


def test_a_dry_run_says_what_would_go_and_a_run_what_went(folder, capsys):
    """The same numbers; after the run there is nothing left to go."""
    assert main(["--dry-run"]) == 0
    would = table(capsys.readouterr().out)
    assert would["would go"] == ("count", "bytes")
    assert would["scratch folders of runs that are over"] == ("1", "5")
    assert would["checkpoints that no run will read"] == ("1", "5")
    assert would["all"] == ("2", "10")
    assert list((folder / "work").iterdir())
    assert main([]) == 0
    went = table(capsys.readouterr().out)
    assert went.pop("went") == would.pop("would go")
    assert went == would
    assert not list((folder / "work").iterdir())
    main(["--dry-run"])
    assert table(capsys.readouterr().out)["all"] == ("0", "0")


def test_json_for_programs(folder, capsys):
    """The same numbers, without the sum."""
    assert main(["--dry-run", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["dry_run"] is True
    assert sum(one["n_bytes"] for one in found["counts"]) == 10
    assert found["missing"] == []


def test_a_database_without_tables_is_told_of(tmp_path, monkeypatch, capsys):
    """And nothing is touched."""
    monkeypatch.setenv("DDCAL_DATA_FOLDER", str(tmp_path))
    assert main([]) == 1
    assert "ddcal migrate" in capsys.readouterr().err


def test_where_there_is_no_data_none_is_made(tmp_path, monkeypatch, capsys):
    """A look changes nothing, and the folder it looked for is named."""
    monkeypatch.setenv("DDCAL_DATA_FOLDER", str(tmp_path / "new"))
    assert main(["--dry-run"]) == 1
    assert str(tmp_path / "new") in capsys.readouterr().err
    assert not (tmp_path / "new").exists()


def test_it_is_a_command(folder):
    """As people call it."""
    ran = run_ddcal("housekeeping", "--dry-run", "--data-folder", folder, folder=folder.parent)
    assert ran.returncode == 0, ran.stderr
    assert table(ran.stdout)["all"] == ("2", "10")
