"""The errors of the core.

CoreError
├── InvalidDataError   the data cannot be used: says what was wanted and what was got
├── DivergedError      a number blew up: carries the step and the number
├── FoldingError       a file written of a network answers otherwise than the network
└── StoppedError       the progress callback asked to stop
"""


class CoreError(Exception):
    """Anything the core raises on purpose."""


class InvalidDataError(CoreError):
    """The data given cannot be used."""


class DivergedError(CoreError):
    """A computation blew up: a number left the range in which it means something.

    Attributes:
        step: after which, from 1.
        value: what the number became; not always infinite or not a number.
    """

    def __init__(
        self,
        step: int,
        value: float,
        *,
        what: str = "the loss",
        wanted: str = "it must stay finite",
    ) -> None:
        super().__init__(f"{what} became {value:.6g} at step {step}; {wanted}")
        self.step = step
        self.value = value
        self._what, self._wanted = what, wanted

    def with_advice(self, advice: str) -> "DivergedError":
        """The same, with what was tried and what to do behind it."""
        wanted = f"{self._wanted} ({advice})"
        return DivergedError(self.step, self.value, what=self._what, wanted=wanted)


class FoldingError(CoreError):
    """A file that was written of a network answers otherwise than the network."""


class StoppedError(CoreError):
    """The caller asked a long computation to stop."""
