"""`python -P -m tests.chaos.worker_program`: a worker as `worker.supervisor` runs it, changed."""

import tests.chaos.worker_app  # noqa: F401 -- which changes this process
from worker.supervisor.__main__ import main

if __name__ == "__main__":
    main()
