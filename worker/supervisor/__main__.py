"""`python -P -m worker.supervisor -Q QUEUES -n NAME`: a worker, one Celery process with one child.

Celery's own command would import from the folder that one happens to be in.
"""

import sys

from worker.supervisor.celery_app import celery

OPTIONS = (
    *("-P", "prefork", "-c", "1"),
    # No heartbeat events: nobody reads them, and one that finds the broker gone while the worker
    # stops is tried again for ever, with the lock that the stop needs. The level is that of a
    # starting child, which does not write JSON yet; celery_app has the rest.
    *("--without-gossip", "--without-mingle", "--without-heartbeat", "--loglevel", "WARNING"),
)


def main() -> None:
    """Run until a signal comes; Celery exits by itself."""
    celery.start(["--quiet", "worker", *OPTIONS, *sys.argv[1:]])


if __name__ == "__main__":
    main()
