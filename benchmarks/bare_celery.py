"""A Celery app that does nothing but say when its task began: the floor of `dispatch`."""

import os
import time
from pathlib import Path

from celery import Celery

app = Celery("bare", broker=os.environ["BARE_BROKER_URL"])
app.conf.update(
    worker_prefetch_multiplier=1, task_ignore_result=True, worker_hijack_root_logger=False
)


@app.task(name="bare.note")
def note(folder: str, number: int) -> None:
    """Write the time of the start."""
    Path(folder, str(number)).write_text(repr(time.time()))
