"""Whether training has come to something: a loss far above that of guessing has blown up."""

import math

from ddcal_core.errors import DivergedError

WORST_END = 10.0
"""Loss after training, as a multiple of that of guessing, beyond which training has blown up."""


def check_end_loss(step: int, loss: float, n_classes: int) -> None:
    """Is a network's training loss, when all is done, one of training that has not blown up?

    Args:
        step: the last, from 1.
        loss: mean per image over the last epoch, in nats.
        n_classes: number of classes K; to guess costs ln K.

    Raises:
        DivergedError: it is more than 10 times that of guessing.
    """
    guessing = math.log(n_classes)
    if loss > WORST_END * guessing:
        raise DivergedError(
            step,
            loss,
            what="the training loss",
            wanted=f"guessing costs ln {n_classes} = {guessing:.2f}: use a smaller lr",
        )
