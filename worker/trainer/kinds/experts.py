"""`experts`: networks trained on real images, their parameters kept after each epoch, for MTT.

The checkpoint is the file of the experts itself, as far as it has got: each is appended once it is
whole. So that no two trainers append to one file, a lost run's and its successor's, it is locked
while it is written to; who does not get the lock writes a file of its own from the beginning.
"""

import contextlib
import fcntl
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ddcal_core.distillation.experts import ExpertTraining, record_experts
from ddcal_core.formats.expert_sets import ExpertSetRecord
from ddcal_core.progress import Progress
from ddcal_core.specs.kinds.experts import ExpertsParams
from worker.trainer.inputs import Task, parse_json
from worker.trainer.outputs import Output, made_with
from worker.trainer.real_images import open_real_images

FILE = "experts.safetensors"


def run(task: Task) -> list[Output]:
    """Record experts on the training images left by the validation cut; one set comes out."""
    params = parse_json(ExpertsParams, task.params)
    images = open_real_images(params, task)
    real = images.examples(images.train_index, task.device)
    training = ExpertTraining(
        real.images, real.labels, params.experts, images.facts, seed=params.seed
    )
    started = time.monotonic()
    result = task.folder / FILE
    with _file_to_write(task) as path:
        on_progress = _StartTeller(task, path, params.experts.epochs)
        record = record_experts(path, training, images.choice(), on_progress=on_progress)
        if path != result:
            _give_second_name(path, result)
    values = {
        "dataset": images.split.dataset,
        "split": images.split.as_json(),
        "n_real_images": len(images.train_index),
        "real_class_counts": list(images.class_counts()),
        **record,
        "n_experts": params.experts.n_experts,
        "epochs": params.experts.epochs,
        "n_bytes": result.stat().st_size,
        "seconds": round(time.monotonic() - started, 3),
        "made_with": made_with(task.device).as_json(),
    }
    stored = parse_json(ExpertSetRecord, values).as_json()
    return [Output("expert_set", "expert_set", stored, (result,))]


@dataclass
class _StartTeller:
    """Passes reports on; at the first one it notes whether an earlier attempt was gone on with."""

    task: Task
    path: Path
    epochs: int
    has_begun: bool = False

    def __post_init__(self) -> None:
        self.had_checkpoint = self.path.exists() and self.path.stat().st_size > 0

    def __call__(self, progress: Progress) -> None:
        """Take a report."""
        if not self.has_begun:
            self.has_begun = True
            n_whole = (progress.step - 1) // self.epochs
            if n_whole:
                told = f"went on after {n_whole} whole experts"
                self.task.on_note("resumed", told, step=n_whole)
            elif self.had_checkpoint:
                self.task.on_note(
                    "checkpoint_unusable",
                    "started from the beginning: no whole expert of this recipe was there",
                )
        self.task.on_progress(progress)


@contextlib.contextmanager
def _file_to_write(task: Task) -> Iterator[Path]:
    """The checkpoint, locked; a file of the run's own where there is none, or it is in use."""
    if task.checkpoint is None:
        yield task.folder / FILE
        return
    with task.checkpoint.open("ab") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            task.on_note("checkpoint_in_use", "another run still writes to it: started anew")
            yield task.folder / FILE
        else:
            yield task.checkpoint


def _give_second_name(path: Path, name: Path) -> None:
    try:
        name.hardlink_to(path)
    except OSError:  # a file system without links
        shutil.copyfile(path, name)
