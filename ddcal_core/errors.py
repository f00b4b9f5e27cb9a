"""The errors of the core.

CoreError
├── InvalidDataError   the data cannot be used: says what was wanted and what was got
├── DivergedError      a loss left the finite numbers: carries the step and the loss
└── StoppedError       the progress callback asked to stop
"""


class CoreError(Exception):
    """Anything the core raises on purpose."""


class InvalidDataError(CoreError):
    """The data given cannot be used."""


class DivergedError(CoreError):
    """A loss became infinite or not a number."""

    def __init__(self, step: int, loss: float) -> None:
        super().__init__(f"the loss became {loss} at step {step}; it must stay finite")
        self.step = step
        self.loss = loss


class StoppedError(CoreError):
    """The caller asked a long computation to stop."""
