import math

import pytest
import torch
from torch import nn

from ddcal_core.networks import build_network
from ddcal_core.seeding import seeded_generator
from ddcal_core.specs.facts import DatasetFacts
from ddcal_core.specs.training import DEFAULT_ADAMW_LR, AdamW, Sgd, TrainSpec
from ddcal_core.training.steps import Steps
from ddcal_core.training.train import predict_logits, train_network

FACTS = DatasetFacts(
    image_shape=(1, 8, 8),
    class_names=("a", "b", "c"),
    train_class_counts=(1, 1, 1),
    test_class_counts=(1, 1, 1),
    mean=(0.5,),
    std=(0.5,),
)


def adamw(**changes):
    """How an AdamW takes steps."""
    own = {name: changes.pop(name) for name in ("warm_up", "weight_decay") if name in changes}
    return TrainSpec(optimiser=AdamW(name="adamw", **own), **changes)


def rates(spec, n_steps):
    """The learning rate of each step, read off a loss of slope 1 by SGD-like AdamW's bias."""
    network = nn.Linear(1, 1)
    steps, found = Steps(network, spec, n_steps), []
    for _ in range(n_steps):
        steps.take(network(torch.ones(1, 1)).sum())
        found.append(steps._optimiser.param_groups[0]["lr"])
    return found


def test_sgd_falls_to_a_tenth_at_half_of_the_epochs():
    """Rounded up, at the first step of an epoch; named or not it is the same."""
    for spec in (
        TrainSpec(epochs=3, lr=0.5),
        TrainSpec(epochs=3, lr=0.5, optimiser=Sgd(name="sgd")),
    ):
        assert rates(spec, 12) == pytest.approx([0.5] * 8 + [0.05] * 4)


@pytest.mark.parametrize(("warm_up", "n_warm"), [(0.0, 0), (0.1, 1), (0.25, 3), (0.9, 9)])
def test_adamw_warms_up_and_falls_by_a_cosine(warm_up, n_warm):
    """Step by step from the formula."""
    wanted = [(s + 1) / n_warm for s in range(n_warm)]
    wanted += [
        (1 + math.cos(math.pi * (s - n_warm) / (10 - n_warm))) / 2 for s in range(n_warm, 10)
    ]
    got = rates(adamw(warm_up=warm_up, epochs=5, lr=0.2), 10)
    assert got == pytest.approx([0.2 * factor for factor in wanted])


def slow_adamw(spec, values, gradients, *, is_decayed):
    """AdamW written out, float64: one number's course over the gradients of each step."""
    mean = square = 0.0
    for step, gradient in enumerate(gradients, start=1):
        lr = rates(spec, len(gradients))[step - 1]
        if is_decayed:
            values -= lr * spec.optimiser.weight_decay * values
        mean, square = 0.9 * mean + 0.1 * gradient, 0.999 * square + 0.001 * gradient**2
        rise = (mean / (1 - 0.9**step)) / (math.sqrt(square / (1 - 0.999**step)) + 1e-8)
        values -= lr * rise
    return values


def test_weights_alone_decay():
    """A weight and a bias under slopes known by hand."""
    spec = adamw(weight_decay=0.5, lr=0.3, epochs=2)
    network = nn.Linear(1, 1).double()
    with torch.no_grad():
        network.weight.fill_(2.0)
        network.bias.fill_(-1.0)
    steps, slopes = Steps(network, spec, 4), (1.0, -3.0, 0.5, 2.0)
    for slope in slopes:
        steps.take(slope * network(torch.ones(1, 1, dtype=torch.float64)).sum())
    weight = slow_adamw(spec, 2.0, slopes, is_decayed=True)
    bias = slow_adamw(spec, -1.0, slopes, is_decayed=False)
    assert network.weight.item() == pytest.approx(weight, rel=1e-9)
    assert network.bias.item() == pytest.approx(bias, rel=1e-9)


def test_of_a_transformer_neither_norms_nor_positions_decay():
    """Linear layers and the patches alone; with slopes of 0 all else stays as it was."""
    spec = adamw(network="vit", width=16, depth=1, heads=2, weight_decay=1.0, lr=0.1, epochs=1)
    network = build_network(spec, FACTS, seeded_generator(0))
    before = {name: value.clone() for name, value in network.state_dict().items()}
    Steps(network, spec, 10).take(0.0 * sum(value.sum() for value in network.parameters()))
    moved = {
        name for name, value in network.state_dict().items() if not torch.equal(value, before[name])
    }
    layers = {
        f"{name}.weight"
        for name, module in network.named_modules()
        if isinstance(module, nn.Linear | nn.Conv2d)
    }
    assert moved == layers
    assert len(layers) == 6


def test_a_transformer_learns_by_it():
    """Bright rows by place, from 60 images: by AdamW to the end where SGD has hardly begun."""
    generator = seeded_generator(3)
    labels = torch.arange(60) % 3
    images = torch.randn((60, 1, 8, 8), generator=generator)
    for k, label in enumerate(labels.tolist()):
        images[k, 0, 2 * label : 2 * label + 2] += 1.5
    found = []
    for chosen in (AdamW(name="adamw"), None):
        spec = TrainSpec(
            network="vit", width=32, depth=2, epochs=100, batch_size=20, optimiser=chosen
        )
        network = build_network(spec, FACTS, seeded_generator(0))
        train_network(network, images, labels, spec, generator=seeded_generator(1))
        right = predict_logits(network, images).argmax(1) == labels
        found.append(float(right.double().mean()))
    assert found[0] > 0.95
    assert found[0] > found[1]


def test_a_learned_rate_is_for_sgd():
    """AdamW has one of its own; one asked for wins."""
    assert adamw().with_learned_lr(0.07).lr == DEFAULT_ADAMW_LR
    assert adamw(lr=0.2).with_learned_lr(0.07).lr == 0.2
    assert TrainSpec().with_learned_lr(0.07).lr == 0.07


@pytest.mark.parametrize("own", [{"momentum": 0.5}, {"weight_decay": 0.1}])
def test_numbers_of_sgd_are_refused_beside_adamw(own):
    """They would be ignored; what a stored training holds is read back."""
    with pytest.raises(ValueError, match=f"wanted none beside it, got {next(iter(own))}"):
        TrainSpec(optimiser=AdamW(name="adamw"), **own)
    spec = adamw()
    assert TrainSpec.model_validate(spec.model_dump()) == spec
    assert "optimiser" not in TrainSpec().model_dump()
