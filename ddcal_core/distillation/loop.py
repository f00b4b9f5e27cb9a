"""The loop around any method: checkpoints, one way back from divergence, the best set kept.

    start ──▶ stretch of steps ──▶ numbers sound? ──▶ score, if due ──▶ checkpoint ──▶ next stretch
                    ▲                   │ no
                    └── last checkpoint, half the step size (once; then DivergedError)

Sound is what is finite and still means something: a learning rate that has fallen to nothing,
images far outside of what networks read and a loss without a gradient stay finite for ever.

Stretches end at fixed steps, and a checkpoint is all that a stretch begins from, so that a run
that was killed and one that was not go through the same numbers.
"""

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property

from ddcal_core.distillation.checkpoints import Checkpoint
from ddcal_core.distillation.method import PHASE, DistillationMethod, DistilledSet, State
from ddcal_core.errors import DivergedError
from ddcal_core.progress import Progress, ProgressCallback, ignore_progress

N_STRETCHES = 100
_ADVICE = "after one rollback with half the step size: use a smaller one"
MOST_STEPS = 10
"""Of a stretch: what a run that is killed may have to do again."""
MAX_ROLLBACKS = 1
LR_FACTOR = 0.5
FARTHEST_PIXEL = 1_000.0
"""Largest magnitude of an image in network-input space, where real pixels deviate by about 1."""
FARTHEST_RATE = 1_000.0
"""Largest factor between a learned learning rate and the one it started from, either way."""
_STUCK_TOLERANCE = 1e-6

Score = Callable[[DistilledSet, Callable[[], None]], float]
"""The validation accuracy of a set, in [0, 1]; calls the second argument now and then."""
CheckpointCallback = Callable[[Checkpoint], None]


def ignore_checkpoint(_checkpoint: Checkpoint) -> None:
    """Take a checkpoint and do nothing with it."""


@dataclass(frozen=True)
class Selection:
    """How the set to keep is chosen among those along the way.

    Attributes:
        score: rates a set; higher is better.
        n_evaluations: sets that are scored, evenly spaced, the last one among them; at least 1.
        patience: stop after so many without a better one; None: never.
    """

    score: Score
    n_evaluations: int
    patience: int | None = None


@dataclass(frozen=True, eq=False)
class Outcome:
    """What a run came to.

    Attributes:
        distilled: the best-scored set, the earliest of equals; without scores the last.
        chosen_step: steps done for it.
        n_steps: steps done in all, fewer than asked for after an early stop.
        scores: validation accuracy in [0, 1] by steps done; at 0 that of the start, which is
            never chosen.
        n_rollbacks: ways back from divergence, each at half the step size.
        seconds: computed for, in all attempts.
    """

    distilled: DistilledSet
    chosen_step: int
    n_steps: int
    scores: Mapping[int, float]
    n_rollbacks: int
    seconds: float


def distill(
    method: DistillationMethod,
    *,
    n_steps: int,
    selection: Selection | None = None,
    resume_from: Checkpoint | None = None,
    on_checkpoint: CheckpointCallback = ignore_checkpoint,
    on_progress: ProgressCallback = ignore_progress,
) -> Outcome:
    """Run a method to its end, or to where its sets have stopped to get better.

    Args:
        method: on its data.
        n_steps: steps to do, at least 1.
        selection: how the set is chosen; None: the last one is kept.
        resume_from: a checkpoint of the same run; on the CPU with as many threads the result is
            then, bit for bit, that of a run never stopped.
        on_checkpoint: given one after each hundredth of the steps, but after ten at the latest, and
            after each evaluation.
        on_progress: told after each step, with "loss", and once scored "validation_accuracy" (the
            last) and "best"; during evaluations too, so that it can stop them.

    Raises:
        DivergedError: for the second time a loss or what is learned blew up; carries the step,
            from 1.
    """
    run = _Run(method, n_steps, selection, on_progress)
    checkpoint = run.start() if resume_from is None else resume_from
    while not run.is_over(checkpoint):
        try:
            reached = run.stretch(checkpoint)
        except DivergedError as error:
            if checkpoint.n_rollbacks == MAX_ROLLBACKS:
                raise error.with_advice(_ADVICE) from error
            checkpoint = replace(checkpoint, n_rollbacks=checkpoint.n_rollbacks + 1)
        else:
            checkpoint = reached
            on_checkpoint(checkpoint)
    return run.outcome(checkpoint)


def evenly_spaced(n_steps: int, n: int) -> set[int]:
    """The last of so many stretches of steps, of equal length; fewer where there are fewer steps.

    Those of n are among those of any multiple of n.
    """
    return {math.ceil(k * n_steps / n) for k in range(1, n + 1)}


class _Run:
    """What stays the same from stretch to stretch."""

    def __init__(
        self,
        method: DistillationMethod,
        n_steps: int,
        selection: Selection | None,
        on_progress: ProgressCallback,
    ) -> None:
        self._method = method
        self._n_steps = n_steps
        self._selection = selection
        self._on_progress = on_progress
        interval = max(1, min(n_steps // N_STRETCHES, MOST_STEPS))
        n_evaluations = selection.n_evaluations if selection else 0
        self._scored = evenly_spaced(n_steps, n_evaluations)
        self._places = sorted({*range(interval, n_steps, interval), *self._scored, n_steps})

    def start(self) -> Checkpoint:
        checkpoint = Checkpoint(step=0, state=self._method.initial_state(), scores={})
        # The start's score says what distillation adds, and how long the others will take.
        return self._with_score(checkpoint, {}) if self._scored else checkpoint

    def is_over(self, checkpoint: Checkpoint) -> bool:
        if checkpoint.step >= self._n_steps:
            return True
        if self._selection is None or self._selection.patience is None:
            return False
        if checkpoint.best_step is None:
            return False
        n_since = sum(step > checkpoint.best_step for step in checkpoint.scores or {})
        return n_since >= self._selection.patience

    def stretch(self, begin: Checkpoint) -> Checkpoint:
        """From a checkpoint to the next.

        Raises:
            DivergedError: on the way a number blew up.
        """
        # Steps work in place, and a rollback needs the checkpoint as it was.
        state, started, values = _copy(begin.state), time.monotonic(), {}
        end = next(place for place in self._places if place > begin.step)
        for step in range(begin.step, end):
            loss = self._method.step(state, step, lr_scale=LR_FACTOR**begin.n_rollbacks)
            self._check_loss(step + 1, loss)
            values = {"loss": loss}
            seconds = begin.seconds + time.monotonic() - started
            self._tell(replace(begin, seconds=seconds), step + 1, values)
        # No loss has seen what the last step made.
        self._check_state(end, state)
        seconds = begin.seconds + time.monotonic() - started
        reached = replace(begin, step=end, state=state, seconds=seconds)
        return self._with_score(reached, values) if end in self._scored else reached

    def _check_loss(self, step: int, loss: float) -> None:
        if not math.isfinite(loss):
            raise DivergedError(step, loss)
        stuck = self._method.stuck_loss
        if stuck is not None and math.isclose(loss, stuck, rel_tol=_STUCK_TOLERANCE):
            raise DivergedError(
                step, loss, wanted="that is its value where the set has no gradient to learn from"
            )

    def _check_state(self, step: int, state: State) -> None:
        if not all(bool(value.isfinite().all()) for value in state.values()):
            raise DivergedError(step, math.nan)
        made = self._method.distilled_set(state)
        farthest = float(made.images.abs().max())
        if farthest > FARTHEST_PIXEL:
            raise DivergedError(
                step,
                farthest,
                what="the largest pixel",
                wanted=f"it must stay within {FARTHEST_PIXEL:,.0f} deviations of real images",
            )
        if made.learned_lr is not None:
            self._check_rate(step, made.learned_lr)

    def _check_rate(self, step: int, lr: float) -> None:
        start = self._start_lr
        assert start is not None
        if not start / FARTHEST_RATE <= lr <= start * FARTHEST_RATE:
            raise DivergedError(
                step,
                lr,
                what="the learned learning rate",
                wanted=f"it must stay within {FARTHEST_RATE:,.0f} times its start, {start:g}, "
                "either way",
            )

    @cached_property
    def _start_lr(self) -> float | None:
        return self._method.distilled_set(self._method.initial_state()).learned_lr

    def outcome(self, checkpoint: Checkpoint) -> Outcome:
        is_last = checkpoint.best_state is None
        state = checkpoint.state if checkpoint.best_state is None else checkpoint.best_state
        return Outcome(
            distilled=self._method.distilled_set(state),
            chosen_step=checkpoint.step if is_last else checkpoint.best_step or 0,
            n_steps=checkpoint.step,
            scores=checkpoint.scores or {},
            n_rollbacks=checkpoint.n_rollbacks,
            seconds=checkpoint.seconds,
        )

    def _with_score(self, checkpoint: Checkpoint, values: Mapping[str, float]) -> Checkpoint:
        assert self._selection is not None
        started = time.monotonic()
        score = self._selection.score(
            self._method.distilled_set(checkpoint.state),
            lambda: self._tell(checkpoint, checkpoint.step, values),
        )
        seconds = time.monotonic() - started
        scored = replace(
            checkpoint,
            scores={**(checkpoint.scores or {}), checkpoint.step: score},
            seconds=checkpoint.seconds + seconds,
            evaluation_seconds=checkpoint.evaluation_seconds + seconds,
        )
        best = _best_score(checkpoint)
        if checkpoint.step > 0 and (best is None or score > best):
            scored = replace(scored, best_step=checkpoint.step, best_state=checkpoint.state)
        self._tell(scored, scored.step, values)
        return scored

    def _tell(self, at: Checkpoint, step: int, values: Mapping[str, float]) -> None:
        """Report, with what is known at a checkpoint, that so many steps are done."""
        scores = at.scores or {}
        shown = dict(values)
        if scores:
            shown["validation_accuracy"] = scores[max(scores)]
        if (best := _best_score(at)) is not None:
            shown["best"] = best
        self._on_progress(
            Progress(
                phase=PHASE,
                step=step,
                steps=self._n_steps,
                values=shown,
                seconds_left=self._seconds_left(at, step),
            )
        )

    def _seconds_left(self, at: Checkpoint, step: int) -> float | None:
        """Steps and evaluations at the mean of those done: they cost too different to be mixed."""
        n_scored = len(at.scores or {})
        if step == 0 or (self._scored and n_scored == 0):
            return None
        step_seconds = (at.seconds - at.evaluation_seconds) / step
        left = step_seconds * (self._n_steps - step)
        if self._scored:
            n_to_score = sum(place not in (at.scores or {}) for place in self._scored)
            left += at.evaluation_seconds / n_scored * n_to_score
        return left


def _best_score(checkpoint: Checkpoint) -> float | None:
    return None if checkpoint.best_step is None else (checkpoint.scores or {})[checkpoint.best_step]


def _copy(state: State) -> State:
    return {name: value.detach().clone() for name, value in state.items()}
