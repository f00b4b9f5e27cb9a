"""`python -P -m worker.supervisor -Q QUEUES -n NAME`: a worker, one Celery process.

Celery's own command would import from the folder that one happens to be in.
"""

import sys

from worker.supervisor.celery_app import celery
from worker.supervisor.options import OPTIONS


def main() -> None:
    """Run until a signal comes; Celery exits by itself."""
    celery.start(["--quiet", "worker", *OPTIONS, *sys.argv[1:]])


if __name__ == "__main__":
    main()
