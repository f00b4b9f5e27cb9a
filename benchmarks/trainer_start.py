"""What a trainer costs until it is ready: forked from a nursery, and started as a program.

    python -m benchmarks.trainer_start [--repeats 5]

Both ways in turn in one run, so that other work on the machine meets both alike. Processor time is
the trainer's own, as its supervisor measures it.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Callable

from worker.supervisor.nursery import Nursery
from worker.supervisor.trainer_process import TrainerProcess, start_child

PROGRAM = (sys.executable, "-m", "worker.trainer.trainer")


def measure(start: Callable[[], TrainerProcess]) -> tuple[float, float]:
    """Seconds of the clock and of the processor until a trainer has said that it is ready."""
    began = time.monotonic()
    trainer = start()
    while not trainer.messages(1):
        pass
    seconds = time.monotonic() - began
    trainer.measure()
    trainer.end(0)
    return seconds, trainer.cpu_seconds or 0.0


def main() -> None:
    """Print a row for each way."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    repeats = parser.parse_args().repeats
    nursery = Nursery()
    ways = {
        "forked": lambda: TrainerProcess(nursery.fork()),
        "started": lambda: start_child(PROGRAM),
    }
    measure(ways["forked"])  # the nursery loads
    taken = [{name: measure(start) for name, start in ways.items()} for _ in range(repeats)]
    nursery.close()
    for name in ways:
        seconds, processor = zip(*(row[name] for row in taken), strict=True)
        print(
            f"{name:8} {statistics.median(seconds):8.3f} s {statistics.median(processor):8.3f} s "
            "of the processor (medians)"
        )


if __name__ == "__main__":
    main()
