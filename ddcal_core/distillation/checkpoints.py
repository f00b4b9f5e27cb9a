"""Where a run of distillation stands, on disk: enough to go on as if it had never stopped.

A checkpoint is a safetensors file that carries a sha256 of its own: of all its bytes, header and
tensors, with 64 zeros where the digest stands.
"""

import hashlib
import json
import os
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load, save

from ddcal_core.distillation.method import State
from ddcal_core.errors import InvalidDataError

FORMAT = "ddcal checkpoint 2"
STATE, BEST = "state/", "best/"
DIGEST = "sha256"
_NO_DIGEST = "0" * 64
# As the header spells it; within the record, which is JSON in a string, quotes have backslashes.
_SEAL = re.compile(rb'"sha256":"([0-9a-f]{64})"')
_LENGTH_BYTES = 8


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
    unsealed = save(on_cpu, {"checkpoint": json.dumps(record), DIGEST: _NO_DIGEST})
    unfinished.write_bytes(_with_digest(unsealed, hashlib.sha256(unsealed).hexdigest()))
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
        InvalidDataError: a byte of it has changed, it is no checkpoint of this format, or one of
            another recipe.
    """
    data = path.read_bytes()
    _require_seal(data, path.name)
    n_header = int.from_bytes(data[:_LENGTH_BYTES], "little")
    header = json.loads(data[_LENGTH_BYTES : _LENGTH_BYTES + n_header])
    record: dict[str, Any] = json.loads(header["__metadata__"]["checkpoint"])
    if record["format"] != FORMAT:
        raise InvalidDataError(f"wanted {FORMAT!r} in {path.name}; got {record['format']!r}")
    if record["recipe"] != recipe:
        raise InvalidDataError(
            f"wanted a checkpoint of recipe {recipe} in {path.name}; got one of {record['recipe']}"
        )
    return _checkpoint_of(record, {name: value.to(device) for name, value in load(data).items()})


def _require_seal(data: bytes, name: str) -> None:
    """Refuse what does not carry the sha256 of its own bytes."""
    seal = _SEAL.search(data)
    if seal is None:
        raise InvalidDataError(
            f"wanted {FORMAT!r} with its sha256 in {name}; got none: it is damaged, or of an "
            "earlier version of ddcal"
        )
    wanted, got = seal[1].decode(), hashlib.sha256(_with_digest(data, _NO_DIGEST)).hexdigest()
    if got != wanted:
        raise InvalidDataError(
            f"wanted a checkpoint of sha256 {wanted} in {name}; got {got}: it is damaged"
        )


def _with_digest(data: bytes, digest: str) -> bytes:
    """A file's bytes with another digest in its place; as they are, where it has none."""
    return _SEAL.sub(f'"{DIGEST}":"{digest}"'.encode(), data, count=1)


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
