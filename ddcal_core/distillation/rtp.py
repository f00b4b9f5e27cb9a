"""Remembering the past (RTP) with masked distillation training (MDT)."""

import math

import torch
from torch import Tensor
from torch.nn import functional

from ddcal_core.data.labelled import random_subset
from ddcal_core.data.network_images import NetworkImages
from ddcal_core.distillation.images import StartingSet, real_batches, required
from ddcal_core.distillation.inner_steps import (
    Batch,
    IterationDraws,
    masked_for_iteration,
    soft_label_start,
    step_inputs,
)
from ddcal_core.distillation.method import PHASE, DistilledSet, State
from ddcal_core.distillation.sgd import descend, with_momentum
from ddcal_core.distillation.unrolled_training import (
    FlatNetwork,
    InnerTraining,
    flat_parameters,
    roll_out,
    sweep_back,
)
from ddcal_core.errors import InvalidDataError
from ddcal_core.networks import build_network, initialise
from ddcal_core.seeding import seeded_generator
from ddcal_core.specs.facts import DatasetFacts
from ddcal_core.specs.methods.method import SetStart
from ddcal_core.specs.methods.rtp import RtpSpec
from ddcal_core.training.augmentation import augment_each


class RememberingThePast:
    """Learn a set such that a fresh network trained on it classifies real images.

    Each iteration draws a fresh ConvNet, classes and real images of them, trains the network for
    T = inner_steps steps of SGD with momentum on random images of the set (masked, then
    augmented), and goes down the slope of the trained network's cross-entropy on the real images.
    Gradients are exact (see `sweep_back`) and clipped together. The set is pixels, or weighted sums
    of bases enlarged (see `decode`). With mask ratio 0 it is plain RTP bit for bit.

    Args:
        images: float32 (N, C, H, W), real, network-input space; all is computed on their device.
        labels: int64 (N,), 0 to K - 1.
        spec: form, budget, mask, steps, step sizes, network.
        facts: image shape and number of classes.
        seed: of all random draws.
        start: the distilled set that init names, if it does.

    Raises:
        InvalidDataError: the budget leaves less than one image per class; a class has no real
            images, or with init "real" fewer than the set has of it; a label is out of range; or
            the set to start from has another number of images of a class.
        ValueError: the images are too small for the depth.

    Source:
        Deng and Russakovsky, NeurIPS 2022 (RTP); arXiv 2307.12463 (MDT, whose place here is our
        reading). Unlike their code: every inner step and the real batch draw augmentations of
        their own, per image.
    """

    def __init__(
        self,
        images: NetworkImages,
        labels: Tensor,
        spec: RtpSpec,
        facts: DatasetFacts,
        *,
        seed: int,
        start: StartingSet | None = None,
    ) -> None:
        self._spec, self._facts, self._seed = spec, facts, seed
        self._per_class = spec.decoded_per_class(facts)
        if self._per_class < 1:
            raise InvalidDataError(
                f"wanted a budget for at least one image per class; {spec.images_per_class} images "
                f"per class leave none beside {spec.n_bases} bases"
            )
        self._labels = torch.arange(facts.n_classes).repeat_interleave(self._per_class)
        self._labels = self._labels.to(images.device)
        ordered = start and start.by_class(self._per_class, facts.n_classes)
        self._start = self._initial(images, labels, ordered)
        self._draw_real = real_batches(images, labels, spec.batch_real, facts.n_classes)
        network = build_network(spec, facts, seeded_generator(seed, PHASE, "network", 0))
        self._module = network.to(images.device)
        self._network = FlatNetwork(self._module)

    @property
    def stuck_loss(self) -> None:
        """None: the loss is that of real images, whatever the set has done."""

    def initial_state(self) -> State:
        """Images, or bases and coefficients; the numbers of soft labels; momenta."""
        state: State = {}
        for name, value in self._start.items():
            state |= with_momentum(name, value.clone())
        return state

    def step(self, state: State, step: int, *, lr_scale: float) -> float:
        """Take one step on all that is learned; see DistillationMethod."""
        spec, draws = self._spec, IterationDraws(self._seed, step)
        leaves = {name: state[name].detach().requires_grad_() for name in self._start}
        seen = masked_for_iteration(self._decoded(leaves), spec, draws)
        learned = {"images": seen.detach()}
        if spec.labels == "soft":
            learned["labels"] = state["labels"]
        classes = self._task(draws)
        inputs = step_inputs(spec, draws, self._batches(draws, classes), self._labels)
        training = InnerTraining(
            self._network, inputs, spec.inner_steps, spec.width, spec.momentum_network
        )
        lr = seen.new_tensor(spec.lr_network)
        rolled = roll_out(training, learned, self._fresh_parameters(draws), lr)
        loss, end_gradient = _end_loss(training, rolled.path[-1], self._real_batch(draws, classes))
        if not math.isfinite(loss):
            return loss
        swept = sweep_back(training, learned, rolled, lr, end_gradient).learned
        decoded_from = {name: leaf for name, leaf in leaves.items() if name != "labels"}
        gradients = torch.autograd.grad(seen, list(decoded_from.values()), swept["images"])
        by_name = dict(zip(decoded_from, gradients, strict=True))
        if spec.labels == "soft":
            by_name["labels"] = swept["labels"]
        norm = torch.stack([gradient.norm() for gradient in by_name.values()]).norm()
        # A gradient of 0 divides to infinity, which the clamp makes 1.
        clip = (spec.clip_norm / norm).clamp(max=1)
        for name, gradient in by_name.items():
            descend(state, name, clip * gradient, spec.lr * lr_scale, spec.momentum)
        return loss

    def distilled_set(self, state: State) -> DistilledSet:
        """The decoded images with their labels; bases and coefficients beside them."""
        is_soft = self._spec.labels == "soft"
        labels = state["labels"].softmax(1) if is_soft else self._labels.clone()
        names = ("bases", "coefficients") if self._spec.form == "bases" else ()
        compact = {name: state[name].clone() for name in names}
        return DistilledSet(self._decoded(state).clone(), labels, compact=compact)

    def _initial(self, images: NetworkImages, labels: Tensor, start: StartingSet | None) -> State:
        spec, facts = self._spec, self._facts
        generator = seeded_generator(self._seed, PHASE, "init")
        n_images, known = len(self._labels), None
        if isinstance(spec.init, SetStart):
            known = required(start).images
        elif spec.init == "real":
            known = images[random_subset(labels, self._per_class, facts.n_classes, generator)]
        if spec.form == "bases":
            shape = spec.basis_shape(facts)
            state = _initial_bases(n_images, spec.n_bases, shape, generator)
            if known is not None:
                _approximate(state, functional.interpolate(known.cpu(), shape[1:], mode="area"))
        elif known is not None:
            state = {"images": known}
        else:
            pixels = math.prod(facts.image_shape)
            flat = _xavier_uniform(n_images, pixels, generator)
            state = {"images": flat.view(n_images, *facts.image_shape)}
        if spec.labels == "soft":
            state["labels"] = soft_label_start(
                self._labels, facts.n_classes, None if start is None else start.soft_labels
            )
        return {name: value.to(images.device) for name, value in state.items()}

    def _decoded(self, state: State) -> Tensor:
        if self._spec.form == "pixels":
            return state["images"]
        _, height, width = self._facts.image_shape
        return decode(state["bases"], state["coefficients"], (height, width))

    def _task(self, draws: IterationDraws) -> list[int]:
        """The classes of an iteration, in random order unless all."""
        wanted, n_classes = self._spec.task_classes, self._facts.n_classes
        if wanted is None or wanted >= n_classes:
            return list(range(n_classes))
        order: list[int] = torch.randperm(n_classes, generator=draws("classes")).tolist()
        return order[:wanted]

    def _batches(self, draws: IterationDraws, classes: list[int]) -> Batch:
        size, per_class = self._spec.batch_per_class, self._per_class
        if size >= per_class and len(classes) == self._facts.n_classes:
            return lambda _: None

        def batch(step: int) -> Tensor:
            generator = draws("memories", step)
            own = [
                label * per_class + torch.randperm(per_class, generator=generator)[:size]
                for label in classes
            ]
            return torch.cat(own).to(self._labels.device)

        return batch

    def _fresh_parameters(self, draws: IterationDraws) -> Tensor:
        initialise(self._module, draws("network"))
        return flat_parameters(self._module)

    def _real_batch(self, draws: IterationDraws, classes: list[int]) -> tuple[Tensor, Tensor]:
        """Augmented real images of an iteration's classes, and their labels."""
        # Drawn for all classes, so that a class's images do not depend on the others in the task.
        batches = self._draw_real(draws("real"))
        images = torch.cat([batches[label] for label in classes])
        labels = [torch.full((len(batches[label]),), label) for label in classes]
        images = augment_each(images, self._spec.augmentation, draws("augment real"))
        return images, torch.cat(labels).to(images.device)


def _end_loss(
    training: InnerTraining, parameters: Tensor, real: tuple[Tensor, Tensor]
) -> tuple[float, Tensor]:
    """Mean cross-entropy of real images at (P,) parameters, and its gradient (P,)."""
    end, total = parameters.clone().requires_grad_(), torch.zeros_like(parameters)
    loss = 0.0
    for images, labels in training.parts(*real):
        part = training.loss(end, images, labels) / len(real[0])
        total += torch.autograd.grad(part, end)[0]
        loss += float(part.detach())
    return loss, total


def decode(bases: Tensor, coefficients: Tensor, size: tuple[int, int]) -> Tensor:
    """Images as weighted sums of bases, enlarged bilinearly.

    Args:
        bases: (K, C, h, w).
        coefficients: (M, K).
        size: (H, W) of the images.

    Returns:
        (M, C, H, W), differentiable in both.
    """
    small = (coefficients @ bases.flatten(1)).view(len(coefficients), *bases.shape[1:])
    return functional.interpolate(small, size=size, mode="bilinear", align_corners=False)


def _xavier_uniform(rows: int, columns: int, generator: torch.Generator) -> Tensor:
    """Float32 (rows, columns), uniform within sqrt(6 / (rows + columns)) of 0."""
    # The published start: noise close to 0, unlike that of images, N(0, 1).
    bound = math.sqrt(6 / (rows + columns))
    return torch.empty(rows, columns).uniform_(-bound, bound, generator=generator)


def _initial_bases(
    n_images: int, n_bases: int, shape: tuple[int, int, int], generator: torch.Generator
) -> State:
    bases = _xavier_uniform(n_bases, math.prod(shape), generator)
    coefficients = _xavier_uniform(n_images, n_bases, generator)
    return {"bases": bases.view(n_bases, *shape), "coefficients": coefficients}


def _approximate(state: State, small: Tensor) -> None:
    """Set bases and coefficients in place such that they come closest to images.

    By the first singular vectors, bases and coefficients of equal norm each. Where there are more
    bases than that, the rest keeps what it has, with coefficients 0.

    Args:
        state: bases (K, C, h, w) and coefficients (M, K).
        small: float32 (M, C, h, w).
    """
    left, values, right = torch.linalg.svd(small.flatten(1), full_matrices=False)
    rank = min(len(values), len(state["bases"]))
    root = values[:rank].sqrt()
    state["coefficients"].zero_()
    state["coefficients"][:, :rank] = left[:, :rank] * root
    state["bases"][:rank] = (root[:, None] * right[:rank]).view_as(state["bases"][:rank])
