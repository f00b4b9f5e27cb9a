"""The steps of training: an optimiser, and a learning rate for each step."""

import math
from typing import Any, assert_never

import torch
from torch import Tensor, nn

from ddcal_core.specs.training import AdamW, Sgd, TrainSpec

LR_FACTOR = 0.1


class Steps:
    """Takes the steps of one training.

    SGD: the learning rate falls to a tenth after half of the epochs (rounded up). Unlike DC's code,
    the momentum is kept at that point. AdamW: step s of S, counted from 0, of which the first
    W = ceil(warm_up S) warm up, has lr (s + 1) / W, and after them
    lr (1 + cos(pi (s - W) / (S - W))) / 2.

    Args:
        network: whose parameters are trained.
        spec: optimiser, learning rate (filled in where it names none), decay, epochs.
        n_steps: S, of all epochs.

    Source:
        Loshchilov and Hutter, ICLR 2019 (AdamW), and ICLR 2017 (cosine); the warm-up as in
        Touvron et al., ICML 2021.
    """

    def __init__(self, network: nn.Module, spec: TrainSpec, n_steps: int) -> None:
        self._spec, self._n_steps, self._n_taken = spec, n_steps, 0
        lr = spec.with_learned_lr(None).lr
        assert lr is not None
        self._lr = lr
        self._optimiser = _optimiser(network, spec, lr)

    def take(self, loss: Tensor) -> None:
        """Step down the slope of a loss.

        Args:
            loss: 0-dimensional, differentiable.
        """
        for group in self._optimiser.param_groups:
            group["lr"] = self._lr * self._factor()
        self._optimiser.zero_grad()
        torch.autograd.backward(loss)
        self._optimiser.step()
        self._n_taken += 1

    def _factor(self) -> float:
        """The next step's learning rate over that of the spec."""
        optimiser, n_taken = self._spec.optimiser, self._n_taken
        match optimiser:
            case None | Sgd():
                n_of_epoch = self._n_steps // self._spec.epochs
                return 1.0 if n_taken // n_of_epoch < (self._spec.epochs + 1) // 2 else LR_FACTOR
            case AdamW(warm_up=share):
                n_warm = math.ceil(share * self._n_steps)
                if n_taken < n_warm:
                    return (n_taken + 1) / n_warm
                past = (n_taken - n_warm) / (self._n_steps - n_warm)
                return (1 + math.cos(math.pi * past)) / 2
            case _:
                assert_never(optimiser)


def _optimiser(network: nn.Module, spec: TrainSpec, lr: float) -> torch.optim.Optimizer:
    match spec.optimiser:
        case None | Sgd():
            return torch.optim.SGD(
                network.parameters(),
                lr=lr,
                momentum=spec.momentum,
                weight_decay=spec.weight_decay,
                fused=True,
            )
        case AdamW(weight_decay=weight_decay):
            decayed, others = _parameters(network)
            groups: list[dict[str, Any]] = [
                {"params": decayed},
                {"params": others, "weight_decay": 0.0},
            ]
            return torch.optim.AdamW(groups, lr=lr, weight_decay=weight_decay, fused=True)
        case _:
            assert_never(spec.optimiser)


def _parameters(network: nn.Module) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
    """The weights of linear and convolution layers, and all other parameters."""
    weights = {
        id(module.weight)
        for module in network.modules()
        if isinstance(module, nn.Linear | nn.Conv2d)
    }
    decayed: list[nn.Parameter] = []
    others: list[nn.Parameter] = []
    for parameter in network.parameters():
        (decayed if id(parameter) in weights else others).append(parameter)
    return decayed, others
