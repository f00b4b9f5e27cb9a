"""Exact gradients through many steps of training, going back over them one at a time."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional

from ddcal_core.distillation.backbone import State
from ddcal_core.distillation.images import chunks

StepInputs = Callable[[State, int], tuple[Tensor, Tensor]]
"""Learned tensors and a step's number, from 0 -> what that step trains on.

Images (N, C, H, W), and targets: classes int64 (N,) or probabilities (N, K). Differentiable in the
learned tensors; called twice a step, it has to give the same both times: what it draws (a batch, a
mask, an augmentation), it draws from generators named by the step.
"""


class FlatNetwork:
    """A network as a function of one vector that holds all its parameters.

    Args:
        network: without buffers that a forward pass changes; its own parameters are not used.
    """

    def __init__(self, network: nn.Module) -> None:
        self._network = network.requires_grad_(False)
        named = dict(network.named_parameters())
        self._shapes = {name: parameter.shape for name, parameter in named.items()}
        self._sizes = [parameter.numel() for parameter in named.values()]

    @property
    def n_parameters(self) -> int:
        """Length P of the vector."""
        return sum(self._sizes)

    def logits(self, parameters: Tensor, images: Tensor) -> Tensor:
        """What the network says with these parameters.

        Args:
            parameters: (P,), in the order of `nn.Module.parameters`.
            images: (N, C, H, W), dtype and device of the parameters.

        Returns:
            (N, K), differentiable, as often as wanted, in both.
        """
        pieces = torch.split(parameters, self._sizes)
        named = {
            name: piece.view(shape)
            for (name, shape), piece in zip(self._shapes.items(), pieces, strict=True)
        }
        logits: Tensor = functional_call(self._network, named, (images,))
        return logits


def flat_parameters(network: nn.Module) -> Tensor:
    """A copy of all parameters of a network, (P,), in the order of `FlatNetwork`."""
    return torch.cat([parameter.detach().flatten() for parameter in network.parameters()])


@dataclass(frozen=True, eq=False)
class InnerTraining:
    """Training by SGD on learned inputs: v <- momentum v + g, theta <- theta - lr v, from v = 0.

    g is the gradient of the mean cross-entropy of the step's inputs at theta.

    Attributes:
        network: what is trained.
        inputs: what each step trains on.
        n_steps: T.
        width: channels of the network's widest layer; a step's images go through it in parts that
            fit a processor's cache (see `chunks`).
        momentum: in [0, 1).
    """

    network: FlatNetwork
    inputs: StepInputs
    n_steps: int
    width: int
    momentum: float = 0.0

    def parts(self, images: Tensor, targets: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        """A step's images and targets, part by part."""
        pieces = chunks(images, self.width)
        return zip(pieces, torch.split(targets, len(pieces[0])), strict=True)

    def loss(self, parameters: Tensor, images: Tensor, targets: Tensor) -> Tensor:
        """The sum of the cross-entropy, 0-dimensional, differentiable in all of them."""
        logits = self.network.logits(parameters, images)
        return functional.cross_entropy(logits, targets, reduction="sum")


@dataclass(frozen=True, eq=False)
class Swept:
    """How a function of the end parameters changes with what the training was made of.

    Attributes:
        learned: the gradient of each learned tensor, zeros where it has no part.
        lr: of the learning rate, 0-dimensional.
    """

    learned: State
    lr: Tensor


def roll_out(training: InnerTraining, learned: State, start: Tensor, lr: Tensor) -> Tensor:
    """Train without keeping any graph.

    Args:
        training: the steps.
        learned: what their inputs are made of.
        start: (P,), the parameters before step 0.
        lr: 0-dimensional, the learning rate of all steps.

    Returns:
        (T + 1, P), the parameters before each step and after the last; dtype and device of `start`.
    """
    path = start.new_empty(training.n_steps + 1, len(start))
    path[0] = start
    velocity = torch.zeros_like(start)
    for step in range(training.n_steps):
        with torch.no_grad():
            images, targets = training.inputs(learned, step)
        parameters = path[step].clone().requires_grad_()
        velocity *= training.momentum
        for part, own in training.parts(images, targets):
            loss = training.loss(parameters, part, own) / len(images)
            velocity += torch.autograd.grad(loss, parameters)[0]
        path[step + 1] = path[step] - lr * velocity
    return path


def sweep_back(
    training: InnerTraining, learned: State, path: Tensor, lr: Tensor, end_gradient: Tensor
) -> Swept:
    """Differentiate a function of the end parameters, exactly, in memory that one step needs.

    With p = dL/dtheta_T and q = 0, for t = T - 1 down to 0, where g is step t's gradient rebuilt at
    theta_t from its inputs x_t, and H its Jacobian there,

        q <- momentum q + p;  dL/dx_t = -lr (dg/dx_t)' q;  dL/dlr -= <q, g>;  p <- p - lr H q.

    Two forward passes a step in all, as nothing is kept but the path.

    Args:
        training: the steps.
        learned: what their inputs are made of, floating point.
        path: (T + 1, P), as `roll_out` gives it for them.
        lr: 0-dimensional, as there.
        end_gradient: (P,), dL/dtheta_T.

    Returns:
        dL of `learned` and `lr`, by way of the steps alone: what L itself reads of them is not in
        it.

    Source:
        Reverse-mode differentiation of SGD (Maclaurin et al., ICML 2015), with stored parameters
        in place of inverted steps; so Deng and Russakovsky, NeurIPS 2022 (RTP). TESLA (Cui et al.,
        ICML 2023) leaves out H q and is an approximation.
    """
    p, q = end_gradient, torch.zeros_like(end_gradient)
    lr_gradient = torch.zeros_like(lr)
    gradients = {name: torch.zeros_like(value) for name, value in learned.items()}
    leaves = {name: value.detach().requires_grad_() for name, value in learned.items()}
    for step in reversed(range(training.n_steps)):
        q = p + training.momentum * q
        inputs = training.inputs(leaves, step)
        product = _product(training, path[step], *inputs, q)
        lr_gradient -= product.slope
        p = p - lr * product.hessian
        reached = [k for k in (0, 1) if inputs[k].requires_grad]
        by_name = torch.autograd.grad(
            [inputs[k] for k in reached],
            list(leaves.values()),
            [product.inputs[k] for k in reached],
            allow_unused=True,
        )
        for name, gradient in zip(gradients, by_name, strict=True):
            if gradient is not None:
                gradients[name] -= lr * gradient
    return Swept(gradients, lr_gradient)


@dataclass(frozen=True, eq=False)
class _Product:
    """Of a step's gradient g and a vector q of its shape, and how that changes.

    Attributes:
        slope: <q, g>.
        hessian: (P,), d<q, g> / d parameters.
        inputs: d<q, g> / d images, and / d targets; of hard targets None.
    """

    slope: Tensor
    hessian: Tensor
    inputs: tuple[Tensor, Tensor | None]


def _product(
    training: InnerTraining, parameters: Tensor, images: Tensor, targets: Tensor, q: Tensor
) -> _Product:
    parameters = parameters.clone().requires_grad_()
    slope, hessian = q.new_zeros(()), torch.zeros_like(q)
    of_images, of_targets = [], []
    for part, own in training.parts(images.detach(), targets.detach()):
        leaves = [parameters, part.requires_grad_()]
        if own.is_floating_point():
            leaves.append(own.requires_grad_())
        loss = training.loss(parameters, part, own) / len(images)
        (gradient,) = torch.autograd.grad(loss, parameters, create_graph=True)
        hessian_part, of_part, *of_own = torch.autograd.grad(gradient, leaves, q)
        slope += q @ gradient.detach()
        hessian += hessian_part
        of_images.append(of_part)
        of_targets += of_own
    return _Product(
        slope, hessian, (torch.cat(of_images), torch.cat(of_targets) if of_targets else None)
    )
