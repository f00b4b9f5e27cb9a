"""How Celery is told to run a worker: children of its own, and nothing that nobody reads."""

OPTIONS = (
    *("-P", "prefork"),
    # No heartbeat events: nobody reads them, and one that finds the broker gone while the worker
    # stops is tried again for ever, with the lock that the stop needs. The level is that of a
    # starting child, which does not write JSON yet; celery_app has the rest.
    *("--without-gossip", "--without-mingle", "--without-heartbeat", "--loglevel", "WARNING"),
)
