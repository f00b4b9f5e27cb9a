"""Where a run of distillation stands, on disk: enough to go on as if it had never stopped."""

import json
import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from ddcal_core.distillation.method import State
from ddcal_core.errors import InvalidDataError

FORMAT = "ddcal checkpoint 1"
STATE, BEST = "state/", "best/"


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """Where a run stands after so many steps. No generator has a past, so there is none in it.

    Attributes:
        step: steps done.
        state: after them.
        n_rollbacks: how often a number that is not finite has sent the run back.
        scores: validation accuracy in [0, 1] by steps done, where it was measured.
        best_step: the earliest of the best-scored steps after step 0; None before the first.
        best_state: the state then.
        seconds: computed for so far, in all attempts.
        evaluation_seconds: of these, on validation accuracy.
    """

    step: int
    state: State
    n_rollbacks: int = 0
    scores: Mapping[int, float] | None = None
    best_step: int | None = None
    best_state: State | None = None
    seconds: float = 0.0
    evaluation_seconds: float = 0.0


def write_checkpoint(path: Path, checkpoint: Checkpoint, recipe: str) -> None:
    """Write a checkpoint so that a reader finds the last one whole, whenever the writer dies.

    Args:
        path: of the file (safetensors), in an existing folder; replaced at once.
        checkpoint: what to write.
        recipe: the digest of all that decides the run's result.
    """
    tensors = {STATE + name: value for name, value in checkpoint.state.items()}
    if checkpoint.best_state is not None and checkpoint.best_step != checkpoint.step:
        tensors |= {BEST + name: value for name, value in checkpoint.best_state.items()}
    record = {
        "format": FORMAT,
        "recipe": recipe,
        "step": checkpoint.step,
        "n_rollbacks": checkpoint.n_rollbacks,
        "scores": list((checkpoint.scores or {}).items()),
        "best_step": checkpoint.best_step,
        "seconds": checkpoint.seconds,
        "evaluation_seconds": checkpoint.evaluation_seconds,
    }
    # A name of its own: a writer that has lost its job may still be at it beside its successor.
    unfinished = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    on_cpu = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
    save_file(on_cpu, unfinished, {"checkpoint": json.dumps(record)})
    _sync(unfinished)
    unfinished.replace(path)
    _sync(path.parent)  # a rename survives a crash only once the folder is on disk


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read_checkpoint(path: Path, recipe: str, *, device: torch.device | None = None) -> Checkpoint:
    """Read a checkpoint back.

    Args:
        path: of the file.
        recipe: as it was written with.
        device: for its tensors; None for the CPU.

    Raises:
        InvalidDataError: it is cut short, is no checkpoint, or is one of another recipe.
    """
    try:
        with safe_open(path, "pt") as file:
            record: dict[str, Any] = json.loads((file.metadata() or {}).get("checkpoint", "{}"))
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise InvalidDataError(f"wanted a checkpoint in {path.name}; got: {error}") from error
    if record.get("format") != FORMAT:
        raise InvalidDataError(
            f"wanted {FORMAT!r} in {path.name}; got {record.get('format', 'none')!r}"
        )
    if record["recipe"] != recipe:
        raise InvalidDataError(
            f"wanted a checkpoint of recipe {recipe} in {path.name}; got one of {record['recipe']}"
        )
    return _checkpoint_of(record, {name: value.to(device) for name, value in tensors.items()})


def _checkpoint_of(record: Mapping[str, Any], tensors: State) -> Checkpoint:
    state = {name.removeprefix(STATE): v for name, v in tensors.items() if name.startswith(STATE)}
    best = {name.removeprefix(BEST): v for name, v in tensors.items() if name.startswith(BEST)}
    if record["best_step"] == record["step"]:
        best = state
    return Checkpoint(
        step=record["step"],
        state=state,
        n_rollbacks=record["n_rollbacks"],
        scores={int(step): float(score) for step, score in record["scores"]},
        best_step=record["best_step"],
        best_state=best or None,
        seconds=record["seconds"],
        evaluation_seconds=record["evaluation_seconds"],
    )
