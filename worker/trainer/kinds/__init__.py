"""The kinds of job a trainer can compute, by name."""

from collections.abc import Callable

from worker.trainer.inputs import Task
from worker.trainer.kinds import calibrate, distill, evaluate, experts, train
from worker.trainer.outputs import Output

KINDS: dict[str, Callable[[Task], list[Output]]] = {
    "experts": experts.run,
    "distill": distill.run,
    "train": train.run,
    "calibrate": calibrate.run,
    "evaluate": evaluate.run,
}
