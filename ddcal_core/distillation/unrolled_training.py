"""Exact gradients through many steps of training, going back over them one at a time."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional

from ddcal_core.distillation.images import chunks
from ddcal_core.distillation.method import State

# Beyond it graphs are rebuilt on the way back: they take no more, however many steps there are.
KEPT_BYTES = 2**28
# Tensors as large as the first block's output that a step's graph holds, second order included;
# measured on ConvNets of three blocks: 6.4.
_GRAPH_TENSORS = 7

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
        """The network's logits with these parameters.

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
    """All parameters of a network in one vector.

    Args:
        network: all its parameters of one dtype, on one device.

    Returns:
        Of shape (P,), in the order of `FlatNetwork`, in the parameters' dtype and on their device;
        a copy, without gradients.
    """
    # cat copies also on a CPU, where a detached parameter is the one that training goes on to
    # change: in MTT's published buffer.py, run on a CPU, every snapshot ends up as the last.
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
        kept_bytes: memory, about, for the graphs of the last steps, which need not be rebuilt.
    """

    network: FlatNetwork
    inputs: StepInputs
    n_steps: int
    width: int
    momentum: float = 0.0
    kept_bytes: int = KEPT_BYTES

    def parts(self, images: Tensor, targets: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        """A step's images and targets, part by part.

        Args:
            images: (N, C, H, W).
            targets: int64 (N,), or (N, K).
        """
        pieces = chunks(images, self.width)
        return zip(pieces, torch.split(targets, len(pieces[0])), strict=True)

    def loss(self, parameters: Tensor, images: Tensor, targets: Tensor) -> Tensor:
        """The sum of the cross-entropy over images, in nats.

        Args:
            parameters: (P,).
            images: (N, C, H, W).
            targets: classes int64 (N,), or probabilities (N, K).

        Returns:
            0-dimensional, differentiable in all of them.
        """
        logits = self.network.logits(parameters, images)
        return functional.cross_entropy(logits, targets, reduction="sum")

    def graphs(self, parameters: Tensor, images: Tensor, targets: Tensor) -> Iterator["StepGraph"]:
        """The gradient of a step's mean loss, part by part, each with what it came from.

        Args:
            parameters: (P,).
            images: (N, C, H, W), N >= 1.
            targets: classes int64 (N,), or probabilities (N, K).

        Yields:
            Parts whose gradients add up to that of the step. Gradients by the inputs end at the
            parts' own leaves; `sweep_back` carries them on to what the inputs are made of.
        """
        # A copy: the graph outlives the next step, which writes into the same path.
        parameters = parameters.clone().requires_grad_()
        for part, own in self.parts(images.detach(), targets.detach()):
            leaves = [parameters, part.requires_grad_()]
            if own.is_floating_point():
                leaves.append(own.requires_grad_())
            loss = self.loss(parameters, part, own) / len(images)
            (gradient,) = torch.autograd.grad(loss, parameters, create_graph=True)
            yield StepGraph(gradient, leaves)

    def is_kept(self, step: int, images: Tensor) -> bool:
        """Is there memory for the graphs of this step and of all after it?"""
        n_bytes = len(images) * images[0, 0].numel() * self.width * images.element_size()
        return (self.n_steps - step) * n_bytes * _GRAPH_TENSORS <= self.kept_bytes


@dataclass(frozen=True, eq=False)
class StepGraph:
    """Part of a step's gradient, differentiable.

    Attributes:
        gradient: (P,), of these images' share of the mean loss.
        leaves: parameters (P,), images, and of soft labels the targets.
    """

    gradient: Tensor
    leaves: list[Tensor]


@dataclass(frozen=True, eq=False)
class RolledOut:
    """A training as it went.

    Attributes:
        path: (T + 1, P), the parameters before each step and after the last.
        graphs: of the last steps, as many as memory was given for.
    """

    path: Tensor
    graphs: Mapping[int, list[StepGraph]]


@dataclass(frozen=True, eq=False)
class Swept:
    """How a function of the end parameters changes with what the training was made of.

    Attributes:
        learned: the gradient of each learned tensor, zeros where it has no part.
        lr: of the learning rate, 0-dimensional.
    """

    learned: State
    lr: Tensor


def roll_out(training: InnerTraining, learned: State, start: Tensor, lr: Tensor) -> RolledOut:
    """Train, keeping what the way back needs.

    Args:
        training: the steps.
        learned: what their inputs are made of.
        start: (P,), the parameters before step 0.
        lr: 0-dimensional, the learning rate of all steps.

    Returns:
        The parameters of each step, dtype and device of `start`, and the graphs of the last.
    """
    path = start.new_empty(training.n_steps + 1, len(start))
    path[0] = start
    velocity = torch.zeros_like(start)
    graphs: dict[int, list[StepGraph]] = {}
    for step in range(training.n_steps):
        with torch.no_grad():
            images, targets = training.inputs(learned, step)
        velocity *= training.momentum
        if training.is_kept(step, images):
            graphs[step] = list(training.graphs(path[step], images, targets))
            for part in graphs[step]:
                velocity += part.gradient.detach()
        else:
            _add_gradient(training, path[step], images, targets, velocity)
        path[step + 1] = path[step] - lr * velocity
    return RolledOut(path, graphs)


def _add_gradient(
    training: InnerTraining, parameters: Tensor, images: Tensor, targets: Tensor, velocity: Tensor
) -> None:
    parameters = parameters.clone().requires_grad_()
    for part, own in training.parts(images, targets):
        loss = training.loss(parameters, part, own) / len(images)
        velocity += torch.autograd.grad(loss, parameters)[0]


def sweep_back(
    training: InnerTraining, learned: State, rolled: RolledOut, lr: Tensor, end_gradient: Tensor
) -> Swept:
    """Differentiate a function of the end parameters, exactly, in memory that few steps need.

    With p = dL/dtheta_T and q = 0, for t = T - 1 down to 0, where g is step t's gradient rebuilt at
    theta_t from its inputs x_t, and H its Jacobian there,

        q <- momentum q + p;  dL/dx_t = -lr (dg/dx_t)' q;  dL/dlr -= <q, g>;  p <- p - lr H q.

    A step whose graph was kept is gone through once in all, the others, of which nothing is kept
    but the path, twice.

    Args:
        training: the steps.
        learned: what their inputs are made of, floating point.
        rolled: what `roll_out` gives for them.
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
        # Momentum carries what a step's velocity does to all later steps back to that step.
        q = p + training.momentum * q
        inputs = training.inputs(leaves, step)
        graphs = rolled.graphs.get(step) or training.graphs(rolled.path[step], *inputs)
        product = _product(graphs, q)
        lr_gradient -= product.slope
        p = p - lr * product.hessian
        # Hard targets have no gradient, and a learned tensor may have no part in this step.
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


def _product(graphs: Iterable[StepGraph], q: Tensor) -> _Product:
    slope, hessian = q.new_zeros(()), torch.zeros_like(q)
    of_images, of_targets = [], []
    for part in graphs:
        hessian_part, of_part, *of_own = torch.autograd.grad(part.gradient, part.leaves, q)
        slope += q @ part.gradient.detach()
        hessian += hessian_part
        of_images.append(of_part)
        of_targets += of_own
    return _Product(
        slope, hessian, (torch.cat(of_images), torch.cat(of_targets) if of_targets else None)
    )
