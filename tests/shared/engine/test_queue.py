"""What a worker takes from its broker."""

from pathlib import Path

from app.shared.engine.queue import celery_sender
from app.shared.settings import Settings
from worker.supervisor.celery_app import create_celery


def test_no_message_is_unpickled(tmp_path: Path) -> None:
    """A pickle is a program: whoever reaches the broker would run it in every worker."""
    settings = Settings(data_folder=tmp_path, redis_url="redis://127.0.0.1:1/0")
    for celery in (celery_sender(settings), create_celery(settings)):
        assert celery.conf.accept_content == ["json"]
        assert celery.conf.task_serializer == "json"
