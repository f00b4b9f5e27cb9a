"""Progress reports of long computations, by which they also learn that they should stop."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True)
class Progress:
    """Where a long computation is.

    Attributes:
        phase: what is being done, in a few words ("distill", "train distilled").
        step: steps done, 0 to `steps`.
        steps: steps in all.
        values: numbers worth showing (a loss), finite.
        seconds_left: an upper estimate for this phase, where the computation knows better than the
            mean of its steps so far; else None.
    """

    phase: str
    step: int
    steps: int
    values: Mapping[str, float] = field(default_factory=dict)
    seconds_left: float | None = None


ProgressCallback = Callable[[Progress], None]
"""Called often; cheap; raises StoppedError where the computation should stop."""


def ignore_progress(progress: Progress) -> None:
    """Take a report and do nothing with it."""
