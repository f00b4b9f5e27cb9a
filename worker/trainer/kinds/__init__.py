"""What a trainer can compute, by the name of the module that does it."""

from collections.abc import Callable

from worker.trainer.inputs import Task
from worker.trainer.kinds import (
    calibrate,
    calibrate_logits,
    compare,
    distill,
    evaluate,
    experts,
    export,
    import_network,
    import_whitened_sets,
    train,
)
from worker.trainer.outputs import Output

COMPUTATIONS: dict[str, Callable[[Task], list[Output]]] = {
    "export": export.run,
    "experts": experts.run,
    "distill": distill.run,
    "train": train.run,
    "calibrate": calibrate.run,
    "calibrate_logits": calibrate_logits.run,
    "evaluate": evaluate.run,
    "compare": compare.run,
    "import_network": import_network.run,
    "import_whitened_sets": import_whitened_sets.run,
}
