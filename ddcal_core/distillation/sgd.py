"""Gradient descent on what a state holds, its momentum beside it."""

from torch import Tensor

from ddcal_core.distillation.method import State

MOMENTUM = ".momentum"


def with_momentum(name: str, value: Tensor) -> State:
    """A learned tensor as it enters a state: itself, and its momentum, all 0, of the same shape."""
    return {name: value, name + MOMENTUM: value.new_zeros(value.shape)}


def descend(state: State, name: str, gradient: Tensor, lr: float, momentum: float) -> None:
    """One step of SGD in place, as torch.optim.SGD takes it: v = momentum v + g, x = x - lr v.

    Args:
        state: holds `name` and its momentum (see `with_momentum`).
        name: of what is learned.
        gradient: of the loss by it, of its shape.
        lr: step size.
        momentum: share of the last steps kept, in [0, 1).
    """
    speed = state[name + MOMENTUM]
    speed.mul_(momentum).add_(gradient)
    state[name].add_(speed, alpha=-lr)
