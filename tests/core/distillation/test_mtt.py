import math

import pytest
import torch
from torch.func import functional_call
from torch.nn import functional

from ddcal_core.distillation.loop import distill
from ddcal_core.distillation.mtt import TrajectoryMatching
from ddcal_core.distillation.unrolled_training import (
    FlatNetwork,
    InnerTraining,
    roll_out,
    sweep_back,
)
from ddcal_core.errors import DivergedError, InvalidDataError
from ddcal_core.networks import build_network
from ddcal_core.seeding import seeded_generator
from ddcal_core.specs.masks import MaskSpec
from ddcal_core.specs.methods.mtt import MttSpec
from ddcal_core.training.augmentation import augment_each
from ddcal_core.training.masking import draw_mask
from ddcal_core.training.regularising import regularised
from tests.core.distillation.regularisers import REGULARISERS
from tests.core.distillation.trajectories import (
    FACTS,
    SEED,
    expert_spec_of,
    real_data,
    recorded,
)

ALL = ("color", "crop", "cutout", "flip", "scale", "rotate")


@pytest.fixture(scope="module")
def experts(tmp_path_factory):
    """Two experts of three epochs."""
    return recorded(tmp_path_factory.mktemp("experts") / "experts", expert_spec_of())


def spec_of(**changes):
    """A small MttSpec."""
    settings = {
        "method": "mtt",
        "images_per_class": 3,
        "iterations": 3,
        "synthetic_steps": 4,
        "expert_epochs": 2,
        "max_start_epoch": 2,
        "lr": 20.0,
        "lr_network": 0.1,
        "lr_lr": 1e-3,
        "width": 4,
        "depth": 2,
        "mask": MaskSpec(ratio=0.3),
    }
    return MttSpec(**settings | changes)


def backbone_of(spec, experts, *, seed=SEED):
    """The method on the real data."""
    return TrajectoryMatching(*real_data(), spec, FACTS, seed=seed, experts=experts)


def generator_of(purpose, *path):
    """The generator of a draw, by its name."""
    return seeded_generator(SEED, "distill", purpose, *path)


def slow_batch(spec, step, inner):
    """Which images a step on the set sees: chunks of one permutation, then of another."""
    n_images = 3 * spec.images_per_class
    size = spec.batch_synthetic or n_images
    n_batches = math.ceil(n_images / size)
    if n_batches == 1:
        return torch.arange(n_images)
    order = torch.randperm(n_images, generator=generator_of("order", step, inner // n_batches))
    return order[inner % n_batches * size :][:size]


def slow_loss(spec, experts, step, images, log_lr, label_numbers):
    """The loss of one iteration by full unrolling on the module's own parameters, float64."""
    generator = generator_of("start", step)
    expert = int(torch.randint(2, (), generator=generator))
    epoch = int(torch.randint(spec.max_start_epoch, (), generator=generator))
    start = experts.snapshot(expert, epoch).double()
    target = experts.snapshot(expert, epoch + spec.expert_epochs).double()
    module = build_network(spec, FACTS, seeded_generator(0)).double()
    pieces = start.split([p.numel() for p in module.parameters()])
    theta = {
        name: piece.view(p.shape).clone().requires_grad_()
        for (name, p), piece in zip(module.named_parameters(), pieces, strict=True)
    }
    hard = torch.arange(3).repeat_interleave(spec.images_per_class)
    targets = functional.one_hot(hard, 3).double()
    if spec.labels == "soft":
        targets = label_numbers.softmax(1)
    held = draw_mask(spec.mask, images, generator_of("mask", step))
    for inner in range(spec.synthetic_steps):
        batch = slow_batch(spec, step, inner)
        seen = images[batch]
        if spec.mask_redraw == "step":
            seen = seen * draw_mask(spec.mask, seen, generator_of("mask", step, inner))
        else:
            seen = seen * held[batch]
        drawn = generator_of("regulariser", step, inner)
        mixed = regularised(spec.regulariser, seen, drawn)
        drawn = generator_of("augment", step, inner)
        seen = augment_each(mixed.images, spec.augmentation, drawn, align_corners=True)
        own = targets[batch]
        if mixed.partner is not None:
            own = mixed.share * own + (1 - mixed.share) * own[mixed.partner]
        logits = functional_call(module, theta, (seen,))
        loss = -(own * logits.log_softmax(1)).sum(1).mean()
        gradients = torch.autograd.grad(loss, list(theta.values()), create_graph=True)
        for name, gradient in zip(theta, gradients, strict=True):
            theta[name] = theta[name] - log_lr.exp() * gradient
    end = torch.cat([p.flatten() for p in theta.values()])
    return (end - target).square().sum() / (start - target).square().sum()


def slow_run(spec, experts, state, n_steps):
    """Images, log learning rate, label numbers and losses by SGD with momentum, float64."""
    lrs = {"images": spec.lr, "log_lr": spec.lr_lr / spec.lr_network**2, "labels": spec.lr_labels}
    names = [name for name in lrs if name in state]
    values = {name: state[name].double() for name in names}
    speeds = {name: torch.zeros_like(value) for name, value in values.items()}
    losses = []
    for step in range(n_steps):
        leaves = {name: value.requires_grad_() for name, value in values.items()}
        loss = slow_loss(
            spec, experts, step, leaves["images"], leaves["log_lr"], leaves.get("labels")
        )
        gradients = torch.autograd.grad(loss, list(leaves.values()))
        for name, gradient in zip(names, gradients, strict=True):
            speeds[name] = spec.momentum * speeds[name] + gradient
            values[name] = (leaves[name] - lrs[name] * speeds[name]).detach()
        losses.append(float(loss.detach()))
    return values, losses


@pytest.mark.parametrize(
    "changes",
    [
        {"mask": MaskSpec(ratio=0)},
        {},
        {"mask_redraw": "step", "labels": "soft", "lr_labels": 3.0},
        {"batch_synthetic": 4, "augmentation": ALL, "labels": "soft"},
        {"batch_synthetic": 2, "augmentation": ("color",), "mask_redraw": "step"},
        *({"regulariser": one, "batch_synthetic": 4} for one in REGULARISERS),
        {"regulariser": REGULARISERS[0], "labels": "soft", "augmentation": ALL},
    ],
)
def test_what_is_learned_is_that_of_the_written_out_method(experts, changes):
    """Three iterations equal full unrolling in float64: images, learning rate, labels, losses."""
    spec = spec_of(**changes)
    backbone = backbone_of(spec, experts)
    state = backbone.initial_state()
    wanted, losses = slow_run(spec, experts, backbone.initial_state(), 3)
    got = [backbone.step(state, step, lr_scale=1.0) for step in range(3)]
    assert got == pytest.approx(losses, rel=1e-4)
    for name, value in wanted.items():
        moved = (value - backbone.initial_state()[name]).norm()
        assert moved > 0
        assert (state[name].double() - value).norm() < 1e-3 * moved, name


def test_ratio_zero_is_the_unmasked_method_bit_for_bit(experts):
    """At ratio 0 one iteration is that of a loop that knows no mask, every bit of it."""
    spec = spec_of(mask=MaskSpec(ratio=0), labels="soft")
    backbone = backbone_of(spec, experts)
    before, state = backbone.initial_state(), backbone.initial_state()
    loss = backbone.step(state, 0, lr_scale=1.0)
    generator = generator_of("start", 0)
    expert = int(torch.randint(2, (), generator=generator))
    epoch = int(torch.randint(2, (), generator=generator))
    start, target = experts.snapshot(expert, epoch), experts.snapshot(expert, epoch + 2)

    def inputs(learned, _step):
        return learned["images"], learned["labels"].softmax(1)

    network = FlatNetwork(build_network(spec, FACTS, seeded_generator(0)))
    training = InnerTraining(network, inputs, spec.synthetic_steps, spec.width)
    learned, lr = {name: before[name] for name in ("images", "labels")}, before["log_lr"].exp()
    rolled = roll_out(training, learned, start, lr)
    scale = (start - target).square().sum()
    swept = sweep_back(training, learned, rolled, lr, 2 * (rolled.path[-1] - target) / scale)
    assert loss == float((rolled.path[-1] - target).square().sum() / scale)
    for name, lr in (("images", spec.lr), ("labels", spec.lr_labels)):
        wanted = before[name].add(swept.learned[name], alpha=-lr)
        assert torch.equal(state[name], wanted)


@pytest.mark.parametrize("fill", ["zero", "noise"])
def test_masked_pixels_do_not_move(experts, fill):
    """After one iteration what its mask hid has not changed by a bit, nearly all else has."""
    spec = spec_of(mask=MaskSpec(ratio=0.4, fill=fill))
    backbone = backbone_of(spec, experts)
    before, state = backbone.initial_state()["images"], backbone.initial_state()
    backbone.step(state, 0, lr_scale=1.0)
    hidden = draw_mask(spec.mask, before, generator_of("mask", 0)).expand_as(before) == 0
    is_moved = state["images"] != before
    assert not is_moved[hidden].any()
    assert is_moved[~hidden].double().mean() > 0.99
    assert 0.3 < float(hidden.double().mean()) < 0.5


def test_first_step_of_the_learning_rate_is_the_published_one(experts):
    """To first order it moves by -lr_lr times its gradient, as if it were learned itself."""
    spec = spec_of(lr_lr=1e-6, mask=MaskSpec(ratio=0))
    backbone = backbone_of(spec, experts)
    before, state = backbone.initial_state(), backbone.initial_state()
    backbone.step(state, 0, lr_scale=1.0)

    def loss_at(lr):
        log_lr = torch.tensor(lr, dtype=torch.float64).log()
        return float(slow_loss(spec, experts, 0, before["images"].double(), log_lr, None).detach())

    slope = (loss_at(0.1 + 1e-5) - loss_at(0.1 - 1e-5)) / 2e-5
    scaled = (state["log_lr"] - before["log_lr"]) * 0.1
    assert float(scaled) == pytest.approx(-spec.lr_lr * slope, rel=0.01)
    got = float(state["log_lr"].double().exp() - before["log_lr"].double().exp())
    assert got == pytest.approx(-spec.lr_lr * slope, rel=0.02)


def test_the_learning_rate_stays_above_zero(experts):
    """Steps that would have taken the rate itself below 0 leave it positive."""
    spec = spec_of(lr_network=1.0, lr_lr=0.5)
    backbone = backbone_of(spec, experts)
    state = backbone.initial_state()
    for step in range(4):
        backbone.step(state, step, lr_scale=1.0)
    before, after = 1.0, backbone.distilled_set(state).learned_lr
    assert 0 < after < 0.7 * before


def test_steps_that_lead_nowhere_have_the_stuck_loss(experts):
    """A learning rate of 1e-30 moves no parameter."""
    backbone = backbone_of(spec_of(), experts)
    state = backbone.initial_state() | {"log_lr": torch.tensor(math.log(1e-30))}
    assert backbone.step(state, 0, lr_scale=1.0) == backbone.stuck_loss


def test_a_learning_rate_that_falls_to_nothing_fails_by_name(experts):
    """Steps on its logarithm so large that it leaves a thousandth of its start, twice."""
    method = backbone_of(spec_of(lr_lr=10.0), experts)
    with pytest.raises(DivergedError, match=r"the (learned learning rate|loss) became") as caught:
        distill(method, n_steps=8)
    assert math.isfinite(caught.value.value)


def test_each_image_is_seen_once_before_any_is_seen_again(experts):
    """Chunks of one permutation, the last one smaller, then of another."""
    backbone = backbone_of(spec_of(batch_synthetic=4), experts)
    batch = backbone._batches(lambda purpose, *path: generator_of(purpose, 0, *path))
    first, second = (torch.cat([batch(k + i) for i in range(3)]) for k in (0, 3))
    assert [len(batch(k)) for k in range(3)] == [4, 4, 1]
    assert first.sort().values.tolist() == second.sort().values.tolist() == list(range(9))
    assert first.tolist() != second.tolist()


@pytest.mark.long
def test_matching_gets_better(experts):
    """Over thirty iterations the loss falls well below 1, that of a network that stands still."""
    losses = []
    spec = spec_of(mask=MaskSpec(ratio=0), lr=50.0, lr_lr=1e-2, synthetic_steps=8)
    distill(
        backbone_of(spec, experts),
        n_steps=30,
        on_progress=lambda report: losses.append(report.values["loss"]),
    )
    assert sum(losses[-5:]) < 0.8 * sum(losses[:5])
    assert sum(losses[-5:]) < 5


@pytest.mark.parametrize("labels", ["hard", "soft"])
def test_the_set_has_its_shape(experts, labels):
    """Float32 images, labels class 0 first or probabilities, the learned rate, no graph."""
    backbone = backbone_of(spec_of(labels=labels), experts)
    got = backbone.distilled_set(backbone.initial_state())
    assert got.images.shape == (9, 2, 8, 8)
    assert not got.images.requires_grad
    assert got.learned_lr == pytest.approx(0.1)
    assert not got.compact
    if labels == "hard":
        assert got.labels.tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    else:
        wanted = torch.full((9, 3), 0.05)
        wanted[torch.arange(9), torch.arange(9) // 3] = 0.9
        torch.testing.assert_close(got.labels, wanted)


@pytest.mark.parametrize("changes", [{}, {"labels": "soft", "augmentation": ALL}])
def test_a_run_that_was_stopped_ends_in_the_same_bytes(experts, changes):
    """Gone on with from any checkpoint the set is that of a run left alone, every bit."""
    spec = spec_of(**changes, iterations=7, batch_synthetic=4)
    checkpoints = []
    whole = distill(backbone_of(spec, experts), n_steps=7, on_checkpoint=checkpoints.append)
    for at in (0, 2, 5):
        again = distill(backbone_of(spec, experts), n_steps=7, resume_from=checkpoints[at])
        assert torch.equal(again.distilled.images, whole.distilled.images)
        assert torch.equal(again.distilled.labels, whole.distilled.labels)
        assert again.distilled.learned_lr == whole.distilled.learned_lr
    assert [checkpoint.step for checkpoint in checkpoints] == list(range(1, 8))


def test_a_loss_that_is_not_finite_is_told(experts):
    """A learning rate far too large gives it back instead of failing."""
    backbone = backbone_of(spec_of(lr_network=100.0), experts)
    state = backbone.initial_state()
    state["log_lr"].fill_(200.0)
    assert not math.isfinite(backbone.step(state, 0, lr_scale=1.0))


def test_a_scaled_step_is_a_shorter_one(experts):
    """Half the scale moves images and learning rate half as far."""
    backbone = backbone_of(spec_of(), experts)
    start, full, half = (backbone.initial_state() for _ in range(3))
    backbone.step(full, 0, lr_scale=1.0)
    backbone.step(half, 0, lr_scale=0.5)
    for name in ("images", "log_lr"):
        moved = full[name] - start[name]
        torch.testing.assert_close(half[name] - start[name], moved / 2, rtol=1e-3, atol=1e-6)


def test_experts_that_do_not_fit_are_refused(experts, tmp_path):
    """Of another network, or with fewer epochs than are read."""
    with pytest.raises(InvalidDataError, match="with 291 parameters; got 408"):
        backbone_of(spec_of(), recorded(tmp_path / "x", expert_spec_of(width=5)))
    with pytest.raises(InvalidDataError, match=r"at least 4 epochs .* got 3"):
        backbone_of(spec_of(max_start_epoch=3), experts)


def test_too_few_real_images_are_refused(experts):
    """A class that cannot give images_per_class is named."""
    with pytest.raises(InvalidDataError, match=r"10 images of each .* class 1 has 9"):
        backbone_of(spec_of(images_per_class=10), experts)
