"""What a worker takes from its broker."""

import sys
from pathlib import Path

import pytest

from app.shared.engine.queue import celery_sender
from app.shared.settings import Settings
from worker.supervisor.celery_app import create_celery


def test_no_message_is_unpickled(tmp_path: Path) -> None:
    """A pickle is a program: whoever reaches the broker would run it in every worker."""
    settings = Settings(data_folder=tmp_path, redis_url="redis://127.0.0.1:1/0")
    for celery in (celery_sender(settings), create_celery(settings)):
        assert celery.conf.accept_content == ["json"]
        assert celery.conf.task_serializer == "json"


def test_what_lies_in_the_current_folder_is_not_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker may be started in a folder of its user's, whose files may be called anything."""
    (tmp_path / "lies_here.py").write_text("")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [one for one in sys.path if one not in ("", ".")])
    loader = create_celery(Settings(data_folder=tmp_path)).loader
    with pytest.raises(ModuleNotFoundError):
        loader.import_task_module("lies_here")
