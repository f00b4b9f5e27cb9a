"""Matching training trajectories (MTT) with masked distillation training (MDT)."""

import math

import torch
from torch import Tensor

from ddcal_core.data.network_images import NetworkImages
from ddcal_core.distillation.experts import ExpertSet
from ddcal_core.distillation.images import StartingSet, initial_images, synthetic_labels
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
    roll_out,
    sweep_back,
)
from ddcal_core.errors import InvalidDataError
from ddcal_core.networks import build_network
from ddcal_core.seeding import seeded_generator
from ddcal_core.specs.facts import DatasetFacts
from ddcal_core.specs.methods.mtt import MttSpec


class TrajectoryMatching:
    """Learn images on which a few steps lead where real images led an expert in whole epochs.

    Each iteration draws an expert and a start epoch s below max_start_epoch, sets a network to its
    parameters there, theta_0, takes N = synthetic_steps plain gradient steps on the set, and
    goes down the slope of

        loss = || theta_N - target ||^2 / || theta_0 - target ||^2,

    target being the expert's parameters expert_epochs later. Steps on a part of the set go through
    a random permutation of it, then through another. Masked, then augmented, images of the set are
    what the steps see. The learning rate of the steps is learned too, as its logarithm, and so are
    soft labels. Gradients are exact (see `sweep_back`). With mask ratio 0 it is plain MTT, bit for
    bit.

    Args:
        images: float32 (N, C, H, W), real, network-input space, to start from; all is computed on
            their device.
        labels: int64 (N,), 0 to K - 1.
        spec: images per class, mask, steps, step sizes, network.
        facts: image shape and number of classes.
        seed: of all random draws.
        experts: of the same network and data set.
        start: the distilled set that init names, if it does.

    Raises:
        InvalidDataError: with init "real" a class has fewer than images_per_class, the set to
            start from has another number, or a label is out of range; or the experts are of
            another network, or ended too early.
        ValueError: the images are too small for the depth.

    Source:
        Cazenavette et al., CVPR 2022 (MTT); arXiv 2307.12463 (MDT, whose place here is our
        reading).
    """

    def __init__(
        self,
        images: NetworkImages,
        labels: Tensor,
        spec: MttSpec,
        facts: DatasetFacts,
        *,
        seed: int,
        experts: ExpertSet,
        start: StartingSet | None = None,
    ) -> None:
        network = build_network(spec, facts, seeded_generator(seed, PHASE, "network", 0))
        self._network = FlatNetwork(network.to(images.device))
        self._spec, self._seed, self._experts = spec, seed, experts
        _check_experts(experts, spec, self._network.n_parameters)
        ordered = start and start.by_class(spec.images_per_class, facts.n_classes)
        self._start = initial_images(images, labels, spec, facts, seed, ordered)
        self._labels = synthetic_labels(spec, facts).to(images.device)
        known = None if ordered is None else ordered.soft_labels
        self._label_start = soft_label_start(self._labels, facts.n_classes, known)

    @property
    def stuck_loss(self) -> float:
        """1: the steps on the set lead nowhere."""
        return 1.0

    def initial_state(self) -> State:
        """Images, the logarithm of the learning rate, the numbers of soft labels; momenta."""
        # In the published code the rate itself is learned; it can fall below 0, and training fails.
        log_lr = torch.tensor(math.log(self._spec.lr_network), device=self._start.device)
        state = {**with_momentum("images", self._start.clone()), **with_momentum("log_lr", log_lr)}
        if self._spec.labels == "soft":
            state |= with_momentum("labels", self._label_start.clone())
        return state

    def step(self, state: State, step: int, *, lr_scale: float) -> float:
        """Take one step on all that is learned; see DistillationMethod."""
        spec, draws = self._spec, IterationDraws(self._seed, step)
        start, target = self._trajectory(draws)
        lr = state["log_lr"].exp()
        images = state["images"].detach().requires_grad_()
        seen = masked_for_iteration(images, spec, draws)
        learned = {**state, "images": seen.detach()}
        learned = {name: learned[name] for name in ("images", "labels") if name in learned}
        training = InnerTraining(
            self._network,
            step_inputs(spec, draws, self._batches(draws), self._labels),
            spec.synthetic_steps,
            spec.width,
        )
        rolled = roll_out(training, learned, start, lr)
        difference, scale = rolled.path[-1] - target, (start - target).square().sum()
        loss = float(difference.square().sum() / scale)
        if not math.isfinite(loss):
            return loss
        swept = sweep_back(training, learned, rolled, lr, 2 * difference / scale)
        (gradient,) = torch.autograd.grad(seen, images, swept.learned["images"])
        descend(state, "images", gradient, spec.lr * lr_scale, spec.momentum)
        # By its logarithm: d log a = da / a, so that lr_lr / a^2 moves a as lr_lr would move it.
        lr_log_lr = spec.lr_lr / spec.lr_network**2 * lr_scale
        descend(state, "log_lr", lr * swept.lr, lr_log_lr, spec.momentum)
        if spec.labels == "soft":
            lr_labels = spec.lr_labels * lr_scale
            descend(state, "labels", swept.learned["labels"], lr_labels, spec.momentum)
        return loss

    def distilled_set(self, state: State) -> DistilledSet:
        """The images with their labels, hard or soft, and the learning rate learned with them."""
        is_soft = self._spec.labels == "soft"
        labels = state["labels"].softmax(1) if is_soft else self._labels.clone()
        return DistilledSet(
            state["images"].clone(), labels, learned_lr=float(state["log_lr"].exp())
        )

    def _trajectory(self, draws: IterationDraws) -> tuple[Tensor, Tensor]:
        """Where an iteration starts and where it should end, each (P,)."""
        generator = draws("start")
        expert = int(torch.randint(self._experts.n_experts, (), generator=generator))
        epoch = int(torch.randint(self._spec.max_start_epoch, (), generator=generator))
        device = self._start.device
        target = self._experts.snapshot(expert, epoch + self._spec.expert_epochs)
        return self._experts.snapshot(expert, epoch).to(device), target.to(device)

    def _batches(self, draws: IterationDraws) -> Batch:
        size, n_images = self._spec.batch_synthetic, len(self._labels)
        if size is None or size >= n_images:
            return lambda _: None
        n_batches = math.ceil(n_images / size)

        def batch(step: int) -> Tensor:
            order = torch.randperm(n_images, generator=draws("order", step // n_batches))
            own = order[step % n_batches * size :][:size]
            return own.to(self._labels.device)

        return batch


def _check_experts(experts: ExpertSet, spec: MttSpec, n_parameters: int) -> None:
    if experts.n_parameters != n_parameters:
        raise InvalidDataError(
            f"wanted experts of a network with {n_parameters:,} parameters; got "
            f"{experts.n_parameters:,}"
        )
    if experts.n_epochs < spec.last_epoch_read:
        raise InvalidDataError(
            f"wanted experts of at least {spec.last_epoch_read} epochs (max_start_epoch - 1 + "
            f"expert_epochs); got {experts.n_epochs}"
        )
