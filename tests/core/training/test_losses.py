import math

import pytest
import torch
from pydantic import TypeAdapter
from torch import nn

from ddcal_core.seeding import seeded_generator
from ddcal_core.specs.training import TrainLoss
from ddcal_core.training.augmentation import Mixed
from ddcal_core.training.losses import training_loss

LOSS = TypeAdapter(TrainLoss)


def loss_of(logits, labels, **loss):
    """The loss of a network that gives its images back as logits."""
    return training_loss(
        nn.Identity(),
        Mixed(logits),
        labels,
        LOSS.validate_python(loss),
        generator=seeded_generator(0),
    )


def some_logits(n=40, scale=3.0):
    """Float64 logits of four classes and labels."""
    generator = seeded_generator(0)
    logits = torch.randn((n, 4), generator=generator, dtype=torch.float64) * scale
    return logits, torch.randint(4, (n,), generator=generator)


def mean_of(logits, labels, sample_loss):
    """The mean over samples of a loss of (probabilities, label), by a loop."""
    losses = []
    for row, label in zip(logits.tolist(), labels.tolist(), strict=True):
        total = sum(math.exp(z) for z in row)
        losses.append(sample_loss([math.exp(z) / total for z in row], label))
    return sum(losses) / len(losses)


@pytest.mark.parametrize("smoothing", [0.05, 0.1, 0.9])
def test_label_smoothing_spreads_over_all_classes(smoothing):
    """Each class gets e / K, the label 1 - e more; not e / (K - 1) over the others."""

    def sample(p, label):
        return -sum(
            ((1 - smoothing) * (k == label) + smoothing / 4) * math.log(q) for k, q in enumerate(p)
        )

    got = loss_of(*some_logits(), name="label_smoothing", smoothing=smoothing)
    assert float(got) == pytest.approx(mean_of(*some_logits(), sample), rel=1e-12)


@pytest.mark.parametrize("gamma", [1.0, 2.0, 3.0, 5.0])
def test_focal_is_its_formula(gamma):
    """-(1 - p)^g log p, a mean over the batch."""
    got = loss_of(*some_logits(), name="focal", gamma=gamma)
    wanted = mean_of(*some_logits(), lambda p, y: -((1 - p[y]) ** gamma) * math.log(p[y]))
    assert float(got) == pytest.approx(wanted, rel=1e-12)


def test_the_schedule_takes_gamma_five_below_a_fifth():
    """FLSD-53 sample by sample, at p on both sides of 0.2."""

    def sample(p, label):
        return -((1 - p[label]) ** (5 if p[label] < 0.2 else 3)) * math.log(p[label])

    logits, labels = some_logits()
    at_label = torch.softmax(logits, 1).gather(1, labels[:, None])
    assert (at_label < 0.2).any()
    assert (at_label >= 0.2).any()
    got = loss_of(logits, labels, name="flsd_53")
    assert float(got) == pytest.approx(mean_of(logits, labels, sample), rel=1e-12)


@pytest.mark.parametrize(
    "loss",
    [
        {"name": "cross_entropy"},
        {"name": "label_smoothing"},
        {"name": "focal"},
        {"name": "flsd_53"},
        {"name": "mixup"},
    ],
    ids=lambda loss: loss["name"],
)
def test_gradients_are_central_differences(loss):
    """The slope that training follows is that of the loss itself."""
    logits, labels = some_logits(n=6, scale=1.0)
    assert torch.autograd.gradcheck(
        lambda z: loss_of(z, labels, **loss), (logits.requires_grad_(),), eps=1e-6, atol=1e-7
    )


@pytest.mark.parametrize("name", ["focal", "flsd_53"])
@pytest.mark.parametrize("gap", [-300.0, -30.0, 20.0, 300.0])
def test_focal_stays_finite_at_certain_predictions(name, gap):
    """Certainly right or wrong: loss and gradient are finite in float32, and right."""
    logits = torch.tensor([[gap, 0.0]], requires_grad=True)
    got = loss_of(logits, torch.tensor([0]), name=name)
    got.backward()
    assert torch.isfinite(logits.grad).all()
    if gap < 0:
        assert float(got.detach()) == pytest.approx(-gap, rel=1e-4)
        assert logits.grad[0].tolist() == pytest.approx([-1.0, 1.0], rel=1e-3)
    else:
        # Near p = 1 with d = 1 - p = e^-gap the loss tends to d^(g + 1), here g = 3.
        assert float(got.detach()) == pytest.approx(math.exp(-4 * gap), rel=1e-3)


def test_mixup_of_an_image_with_itself_is_cross_entropy():
    """A batch of one has no other partner, whatever the share."""
    logits, labels = some_logits(n=1)
    mixed = loss_of(logits, labels, name="mixup", alpha=1.0)
    assert float(mixed) == pytest.approx(float(loss_of(logits, labels, name="cross_entropy")))


def some_soft_labels(n=40, n_classes=4):
    """Rows of probabilities, one of them 0 and one row hard."""
    soft = torch.rand((n, n_classes), generator=seeded_generator(9), dtype=torch.float64)
    soft[0], soft[1, 2] = torch.tensor([0.0, 1.0, 0.0, 0.0]), 0.0
    return soft / soft.sum(1, keepdim=True)


SOFT_FORMULAS = {
    "cross_entropy": ({}, lambda p, t: -t * math.log(p)),
    "label_smoothing": ({"smoothing": 0.2}, lambda p, t: -(0.8 * t + 0.2 / 4) * math.log(p)),
    "focal": ({"gamma": 2.0}, lambda p, t: -t * (1 - p) ** 2 * math.log(p)),
    "flsd_53": ({}, lambda p, t: -t * (1 - p) ** (5 if p < 0.2 else 3) * math.log(p)),
}


@pytest.mark.parametrize("name", SOFT_FORMULAS)
def test_soft_labels_weigh_the_classes(name):
    """Each loss is its sum over the classes, by a loop."""
    options, of_class = SOFT_FORMULAS[name]
    logits, soft = some_logits()[0], some_soft_labels()
    total = 0.0
    for row, target in zip(logits.tolist(), soft.tolist(), strict=True):
        chances = [math.exp(z) / sum(math.exp(x) for x in row) for z in row]
        total += sum(of_class(p, t) for p, t in zip(chances, target, strict=True))
    got = loss_of(logits, soft, name=name, **options)
    assert float(got) == pytest.approx(total / len(soft), rel=1e-12)


@pytest.mark.parametrize("name", [*SOFT_FORMULAS, "mixup"])
def test_hard_labels_are_soft_ones_at_a_corner(name):
    """Written as rows of 0 and 1, labels give the same loss and the same gradient."""
    logits, labels = some_logits()
    losses, gradients = [], []
    for target in (labels, torch.eye(4, dtype=torch.float64)[labels]):
        moved = logits.clone().requires_grad_()
        losses.append(loss_of(moved, target, name=name))
        gradients += torch.autograd.grad(losses[-1], moved)
    assert float(losses[0].detach()) == pytest.approx(float(losses[1].detach()), rel=1e-12)
    torch.testing.assert_close(*gradients, rtol=1e-10, atol=1e-14)
