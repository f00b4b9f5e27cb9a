import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from ddcal_core.errors import DivergedError, StoppedError
from ddcal_core.networks import ConvNet, initialise
from ddcal_core.seeding import seeded_generator
from ddcal_core.specs.regularisers import Cutmix, Mixup
from ddcal_core.specs.training import (
    CrossEntropy,
    Focal,
    FocalSchedule,
    LabelSmoothing,
    TrainSpec,
)
from ddcal_core.training.augmentation import augment, draw_augmentation, mix_images
from ddcal_core.training.regularising import regularised
from ddcal_core.training.train import predict_logits, train_network
from tests.core.distillation.regularisers import REGULARISERS


def linear_network(n_classes=3, n_inputs=4):
    """A softmax regression on images of 2 x 2."""
    network = nn.Sequential(nn.Flatten(), nn.Linear(n_inputs, n_classes))
    initialise(network, seeded_generator(0, "network"))
    return network


def some_data(n=11, n_classes=3, side=2):
    """Random square images (n, 1, side, side) and labels."""
    generator = seeded_generator(0, "data")
    images = torch.randn((n, 1, side, side), generator=generator)
    return images, torch.randint(n_classes, (n,), generator=generator)


def trained(spec, images, labels, network=None, **keywords):
    """A network after training from generator 0."""
    network = network or linear_network()
    train_network(network, images, labels, spec, generator=seeded_generator(0, "o"), **keywords)
    return network


def slow_loss(loss, z, x_mix):
    """Loss and its gradient by the logits of one sample, by the formulas; (label, weight) pairs."""
    p = np.exp(z - z.max())
    p /= p.sum()
    total, slope = 0.0, np.zeros(3)
    for label, weight in x_mix:
        target = np.eye(3)[label]
        if loss.name == "label_smoothing":
            target = (1 - loss.smoothing) * target + loss.smoothing / 3
        if loss.name in ("focal", "flsd_53"):
            q = p[label]
            g = loss.gamma if loss.name == "focal" else (5 if q < 0.2 else 3)
            total -= weight * (1 - q) ** g * math.log(q)
            by_q = g * (1 - q) ** (g - 1) * math.log(q) - (1 - q) ** g / q
            slope += weight * by_q * q * (target - p)
        else:
            total -= weight * float(target @ np.log(p))
            slope += weight * (p - target)
    return total, slope


def slow_training(spec, images, labels):
    """Softmax regression by the update rule written out in numpy, float64; epoch losses too."""
    network = linear_network(n_inputs=images[0].numel())
    weight = network[1].weight.detach().double().numpy().copy()
    bias = network[1].bias.detach().double().numpy().copy()
    x, y = images.double().flatten(1).numpy(), labels.numpy()
    speed_w, speed_b, losses = np.zeros_like(weight), np.zeros_like(bias), []
    generator = seeded_generator(0, "o")
    own_generator = seeded_generator(generator.initial_seed(), "regulariser")
    for epoch in range(spec.epochs):
        lr = spec.lr if epoch < spec.epochs / 2 else spec.lr * 0.1
        order, total = torch.randperm(len(x), generator=generator).numpy(), 0.0
        for start in range(0, len(x), spec.batch_size):
            part = order[start : start + spec.batch_size]
            shown, pairs = x[part], [[(label, 1.0)] for label in y[part]]
            if spec.loss.name == "mixup":
                mixed = mix_images(torch.zeros(len(part)), spec.loss.alpha, generator)
                a, b = mixed.share, mixed.partner.numpy()
                shown = a * x[part] + (1 - a) * x[part][b]
                pairs = [[(y[i], a), (y[part][j], 1 - a)] for i, j in zip(part, b, strict=True)]
            if spec.regulariser is not None:
                changed = regularised(spec.regulariser, images[part].double(), own_generator)
                shown = changed.images.flatten(1).numpy()
                if changed.partner is not None:
                    a, b = changed.share, changed.partner.numpy()
                    pairs = [[(y[i], a), (y[part][j], 1 - a)] for i, j in zip(part, b, strict=True)]
            each = [
                slow_loss(spec.loss, row @ weight.T + bias, pair)
                for row, pair in zip(shown, pairs, strict=True)
            ]
            total += sum(loss for loss, _ in each)
            error = np.array([slope for _, slope in each]) / len(part)
            speed_w = spec.momentum * speed_w + error.T @ shown + spec.weight_decay * weight
            speed_b = spec.momentum * speed_b + error.sum(0) + spec.weight_decay * bias
            weight, bias = weight - lr * speed_w, bias - lr * speed_b
        losses.append(total / len(x))
    return weight, bias, losses


LOSSES = [
    CrossEntropy(name="cross_entropy"),
    LabelSmoothing(name="label_smoothing", smoothing=0.3),
    Focal(name="focal", gamma=2.0),
    FocalSchedule(name="flsd_53"),
    Mixup(name="mixup", alpha=0.7),
]


@pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: loss.name)
@pytest.mark.parametrize(("epochs", "batch_size"), [(1, 11), (2, 4), (5, 4), (6, 100)])
def test_training_is_the_written_out_update(epochs, batch_size, loss):
    """Weights and epoch losses equal momentum SGD in numpy, with the fall of lr at half."""
    spec = TrainSpec(
        epochs=epochs, batch_size=batch_size, lr=0.3, momentum=0.8, weight_decay=0.05, loss=loss
    )
    reports = []
    network = trained(spec, *some_data(), on_progress=reports.append)
    weight, bias, losses = slow_training(spec, *some_data())
    np.testing.assert_allclose(network[1].weight.detach().numpy(), weight, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(network[1].bias.detach().numpy(), bias, rtol=1e-5, atol=1e-6)
    got = [report.values["loss"] for report in reports]
    np.testing.assert_allclose(got, losses, rtol=1e-5)


@pytest.mark.parametrize("regulariser", REGULARISERS, ids=lambda one: one.name)
@pytest.mark.parametrize("loss", LOSSES[:4], ids=lambda loss: loss.name)
def test_regularised_training_is_the_written_out_update(loss, regulariser):
    """With every loss; the order of the images is the one without a regulariser."""
    spec = TrainSpec(
        epochs=3, batch_size=4, lr=0.3, momentum=0.8, loss=loss, regulariser=regulariser
    )
    reports, data = [], some_data(side=4)
    network = trained(spec, *data, linear_network(n_inputs=16), on_progress=reports.append)
    weight, bias, losses = slow_training(spec, *data)
    np.testing.assert_allclose(network[1].weight.detach().numpy(), weight, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(network[1].bias.detach().numpy(), bias, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose([r.values["loss"] for r in reports], losses, rtol=1e-5)
    plain = trained(
        spec.model_copy(update={"regulariser": None}), *data, linear_network(n_inputs=16)
    )
    assert not torch.allclose(network[1].weight, plain[1].weight, atol=1e-3)


def test_the_regulariser_mixup_is_the_loss_mixup():
    """Alone with cross-entropy: the same blends, of draws of its own."""
    regulariser = Mixup(name="mixup", alpha=0.7)
    images, labels = some_data()
    mixed = regularised(regulariser, images, seeded_generator(5))
    wanted = mix_images(images, 0.7, seeded_generator(5))
    assert torch.equal(mixed.images, wanted.images)
    assert torch.equal(mixed.partner, wanted.partner)
    assert mixed.share == wanted.share
    assert len(labels) == len(mixed.partner)


@pytest.mark.parametrize("name", ["mixup", "cutmix"])
def test_nothing_is_blended_twice(name):
    """The loss mixup goes with no regulariser that blends labels, and with the others."""
    loss = Mixup(name="mixup")
    regulariser = {"mixup": Mixup, "cutmix": Cutmix}[name](name=name)
    with pytest.raises(ValueError, match=f"blends images and labels already: .* {name}"):
        TrainSpec(loss=loss, regulariser=regulariser)
    TrainSpec(loss=loss, regulariser=REGULARISERS[2])


def test_progress_is_told_after_each_epoch():
    """Steps 1 to n of n, under the phase's name."""
    reports = []
    trained(TrainSpec(epochs=4), *some_data(), on_progress=reports.append, phase="train random")
    assert [(r.phase, r.step, r.steps) for r in reports] == [
        ("train random", step, 4) for step in (1, 2, 3, 4)
    ]


def test_equal_generators_train_equal_networks():
    """Same data, spec and generator: same bytes, whatever the global generator holds."""
    spec = TrainSpec(epochs=3, batch_size=4)
    first = trained(spec, *some_data())
    with torch.random.fork_rng():
        torch.manual_seed(12345)
        second = trained(spec, *some_data())
    assert torch.equal(first[1].weight, second[1].weight)


def test_convnet_learns_its_images():
    """Twenty images of noise are fitted without an error."""
    network = ConvNet(1, 4, (8, 8), 8, 2)
    initialise(network, seeded_generator(1, "network"))
    images = torch.randn((20, 1, 8, 8), generator=seeded_generator(1, "images"))
    labels = torch.arange(20) % 4
    trained(TrainSpec(epochs=60, lr=0.1), images, labels, network)
    assert predict_logits(network, images).argmax(1).tolist() == labels.tolist()


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_loss_that_is_not_finite_ends_it(value):
    """The epoch is told, and nobody hears of a finished one."""
    images, labels = some_data()
    images[3, 0, 0, 0] = value
    reports = []
    with pytest.raises(DivergedError, match="at step 1") as caught:
        trained(TrainSpec(epochs=3), images, labels, on_progress=reports.append)
    assert caught.value.step == 1
    assert reports == []


def test_a_step_size_far_too_large_ends_it():
    """Weights that blow up over the epochs end in DivergedError, not in NaN weights unsaid."""
    spec = TrainSpec(epochs=200, lr=100.0, momentum=0.99, weight_decay=1.0)
    with pytest.raises(DivergedError):
        trained(spec, *some_data())


@pytest.mark.parametrize(("epochs", "scale"), [(1, 3), (5, 30)])
@pytest.mark.parametrize("n_classes", [2, 4])
def test_a_loss_far_above_that_of_guessing_ends_it(n_classes, epochs, scale):
    """Finite to the end, be it the very last step, yet 10 times ln K: told with what to do."""
    images, labels = some_data(n_classes=n_classes)
    network = linear_network(n_classes)
    with pytest.raises(
        DivergedError, match=rf"at step {epochs}; guessing costs ln {n_classes} = "
    ) as told:
        trained(TrainSpec(epochs=epochs, lr=100.0), scale * images, labels, network)
    assert 10 * math.log(n_classes) < told.value.value < math.inf


def test_parameters_lost_in_the_last_step_are_told():
    """One epoch whose only step leaves infinite weights is no success."""
    images, labels = some_data()
    network = linear_network()
    spec = TrainSpec(epochs=1, lr=100.0)
    with pytest.raises(DivergedError, match="nan at step 1"):
        trained(spec, images * 3e37, labels, network)


def test_the_caller_can_stop_it():
    """StoppedError from the callback comes through, after as many epochs as were reported."""
    seen = []

    def stop_at_two(report):
        seen.append(report.step)
        if report.step == 2:
            raise StoppedError

    network = linear_network().eval()
    with pytest.raises(StoppedError):
        trained(TrainSpec(epochs=9), *some_data(), network, on_progress=stop_at_two)
    assert seen == [1, 2]
    assert not network.training


@pytest.mark.parametrize("n_labels", [0, 10])
@pytest.mark.parametrize("n_images", [0, 11])
def test_images_need_as_many_labels(n_images, n_labels):
    """No images, or another number of labels, is refused with both numbers."""
    images, labels = some_data()
    with pytest.raises(ValueError, match=f"got {n_images} images and {n_labels} labels"):
        trained(TrainSpec(epochs=1), images[:n_images], labels[:n_labels])


@pytest.mark.parametrize("batch_size", [1, 4, 11, 512])
def test_logits_are_those_of_the_network_in_evaluation_mode(batch_size):
    """Batches change nothing; dropout is off; no gradient is kept."""
    images, _ = some_data()
    linear = linear_network()
    network = nn.Sequential(linear, nn.Dropout(0.5)).train()
    logits = predict_logits(network, images, batch_size=batch_size)
    wanted = images.double().flatten(1) @ linear[1].weight.double().t() + linear[1].bias.double()
    torch.testing.assert_close(logits, wanted.float())
    assert not logits.requires_grad
    assert logits.dtype == torch.float32


def test_every_layers_mode_is_restored():
    """A network with one layer in evaluation mode keeps exactly that, used or trained."""
    network = nn.Sequential(linear_network(), nn.Dropout(0.5), nn.Dropout(0.1)).train()
    network[2].eval()
    predict_logits(network, some_data()[0])
    assert [layer.training for layer in network] == [True, True, False]
    trained(TrainSpec(epochs=1), *some_data(), network.eval())
    assert [layer.training for layer in network] == [False, False, False]


def test_mode_is_restored_after_an_error():
    """A batch that does not fit raises, and the network is left in its mode."""
    network = linear_network().train()
    with pytest.raises(RuntimeError):
        predict_logits(network, torch.zeros(2, 1, 3, 3))
    assert network.training


def test_no_images_give_no_logits():
    """An empty batch gives (0, K)."""
    network = ConvNet(1, 7, (8, 8), 4, 2)
    initialise(network, seeded_generator(0))
    assert predict_logits(network, torch.zeros(0, 1, 8, 8)).shape == (0, 7)


def test_each_image_of_a_batch_is_augmented_by_itself():
    """Two epochs by hand: order, change and numbers drawn in turn, then a step of plain SGD."""
    names = ("flip", "cutout", "color")
    images = torch.randn((7, 3, 4, 4), generator=seeded_generator(0, "colour"))
    labels = torch.arange(7) % 3
    spec = TrainSpec(epochs=2, batch_size=9, lr=0.1, momentum=0, weight_decay=0, augmentation=names)
    network = trained(spec, images, labels, linear_network(3, 48))
    by_hand, generator = linear_network(3, 48), seeded_generator(0, "o")
    seen_images = []
    for lr in (0.1, 0.01):
        order = torch.randperm(7, generator=generator)
        drawn = draw_augmentation(names, generator, n_images=7)
        seen_images.append(augment(images[order], drawn))
        loss = functional.cross_entropy(by_hand(seen_images[-1]), labels[order])
        gradients = torch.autograd.grad(loss, list(by_hand.parameters()))
        with torch.no_grad():
            for parameter, gradient in zip(by_hand.parameters(), gradients, strict=True):
                parameter.sub_(lr * gradient)
    assert not any(torch.equal(seen.sort(0)[0], images.sort(0)[0]) for seen in seen_images)
    torch.testing.assert_close(network[1].weight, by_hand[1].weight)
