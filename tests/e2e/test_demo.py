"""`ddcal demo`, with a tiny pipeline in place of its own."""

import psutil

from ddcal.cli.demo import demo
from tests.services import TINY_PIPELINE


def test_demo_shows_a_table_writes_files_and_leaves_nothing(tmp_path, capfd, monkeypatch):
    """Exit 0, each training set in the table, the report on disk, no process and no temp folder."""
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))
    monkeypatch.setattr("tempfile.tempdir", None)  # so that it is looked up anew
    (tmp_path / "tmp").mkdir()
    # The caller's own settings have no part in the demo: this database does not even exist.
    monkeypatch.setenv("DDCAL_DATABASE_URL", "postgresql+psycopg://nobody@127.0.0.1:1/none")
    before = {child.pid for child in psutil.Process().children(recursive=True)}
    assert demo(tmp_path / "out", pipeline=TINY_PIPELINE) == 0
    shown = capfd.readouterr().out
    for words in (
        "distilled (DM, 1 per class)",
        "random (1 per class)",
        "MTS 50 % on training set",
    ):
        assert words.replace(" %", "\u202f%") in shown
    assert str(tmp_path / "out" / "evaluate" / "report.html") in shown
    assert (tmp_path / "out" / "evaluate" / "report.html").stat().st_size > 0
    assert {child.pid for child in psutil.Process().children(recursive=True)} <= before
    assert list((tmp_path / "tmp").iterdir()) == []
