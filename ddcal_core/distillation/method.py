"""The interface of a distillation method to the loop around it: a learned state, steps on it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from torch import Tensor

PHASE = "distill"
State = dict[str, Tensor]
"""All that steps change, by name: what is learned and the optimiser's buffers, on one device.

Saved whole it is all a run needs to go on: each draw has a generator of its own, named by seed,
purpose and step (see `seeding`), so that no generator has a past.
"""


@dataclass(frozen=True, eq=False)
class DistilledSet:
    """A few learned images that stand for many.

    Attributes:
        images: float32 (M, C, H, W), network-input space, not clamped.
        labels: int64 (M,), class 0 first; or soft, float32 (M, K), rows adding up to 1.
        learned_lr: the learning rate learned with the images, above 0; None where none is.
        compact: the smaller form that the images are decoded from, by name; empty where there is
            none.
    """

    images: Tensor
    labels: Tensor
    learned_lr: float | None = None
    compact: Mapping[str, Tensor] = field(default_factory=dict)


class DistillationMethod(Protocol):
    """One distillation method on one data set, ready to run."""

    @property
    def stuck_loss(self) -> float | None:
        """The loss of a set that has no gradient at all; None where no one value tells."""

    def initial_state(self) -> State:
        """The state before step 0, the same each time it is asked for."""

    def step(self, state: State, step: int, *, lr_scale: float) -> float:
        """Do one iteration in place.

        Args:
            state: as `initial_state` or the step before has left it.
            step: from 0; names what is drawn.
            lr_scale: multiplies every learning rate of what is learned; below 1 after a rollback.

        Returns:
            The loss before the step. Where it is not finite, the state is the loop's to throw away.
        """

    def distilled_set(self, state: State) -> DistilledSet:
        """What a state stands for; shares no memory with it."""
