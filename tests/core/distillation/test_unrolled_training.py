"""The reverse sweep beside full unrolling by autograd, in float64."""

import math

import pytest
import torch
from torch.func import functional_call
from torch.nn import functional

from ddcal_core.distillation.unrolled_training import (
    FlatNetwork,
    InnerTraining,
    flat_parameters,
    roll_out,
    sweep_back,
)
from ddcal_core.networks import ConvNet, initialise
from ddcal_core.seeding import seeded_generator
from ddcal_core.specs.masks import MaskSpec
from ddcal_core.training.masking import mask_images

SHAPE, N_CLASSES, N_IMAGES, N_STEPS = (2, 8, 8), 3, 7, 5
# Said to be wide enough for the five images of a step to go through in parts of four.
WIDTH = 2**13


def network():
    """A small ConvNet in float64."""
    made = ConvNet(SHAPE[0], N_CLASSES, SHAPE[1:], width=4, depth=2)
    initialise(made, seeded_generator(0, "network"))
    return made.double()


def batch_of(step):
    """Five of the seven images, others in each step."""
    return torch.randperm(N_IMAGES, generator=seeded_generator(1, step))[:5]


def bend(images, step):
    """A smooth change of images that differs from step to step and from image to image."""
    shift = torch.randn((len(images), 1, 1, 1), generator=seeded_generator(2, step)).double()
    return (images + shift).sin() + 0.1 * images.flip(-1) * images.mean((1, 2, 3), keepdim=True)


def prepared(images, step, *, mask, augment):
    """Mask, then augmentation, each drawn anew in each step."""
    if mask is not None:
        images = mask_images(mask, images, seeded_generator(3, step))
    return bend(images, step) if augment else images


def pixel_inputs(*, mask, augment, soft):
    """Images and labels that are learned as they are."""
    hard = torch.arange(N_IMAGES) % N_CLASSES

    def inputs(learned, step):
        batch = batch_of(step)
        images = prepared(learned["images"][batch], step, mask=mask, augment=augment)
        return images, learned["labels"][batch].softmax(1) if soft else hard[batch]

    return inputs


def addressed_inputs(*, mask, augment, soft):
    """Images that are weighted sums of four half-size bases, doubled in size."""
    hard = torch.arange(N_IMAGES) % N_CLASSES

    def inputs(learned, step):
        batch = batch_of(step)
        small = torch.einsum("nk,kchw->nchw", learned["coefficients"][batch], learned["bases"])
        images = functional.interpolate(small, size=SHAPE[1:], mode="bilinear")
        images = prepared(images, step, mask=mask, augment=augment)
        return images, learned["labels"][batch].softmax(1) if soft else hard[batch]

    return inputs


def learned_tensors(names):
    """Random float64 tensors of the shapes that the inputs above expect."""
    shapes = {
        "images": (N_IMAGES, *SHAPE),
        "labels": (N_IMAGES, N_CLASSES),
        "bases": (4, 2, 4, 4),
        "coefficients": (N_IMAGES, 4),
    }
    return {
        name: torch.randn(shapes[name], generator=seeded_generator(4, name)).double()
        for name in names
    }


def unrolled(module, inputs, learned, lr, *, momentum, end_loss):
    """End parameters and gradients by autograd through all steps, each tensor on its own."""
    learned = {name: value.clone().requires_grad_() for name, value in learned.items()}
    lr = lr.clone().requires_grad_()
    theta = {name: p.detach().clone().requires_grad_() for name, p in module.named_parameters()}
    speed = {name: torch.zeros_like(p) for name, p in theta.items()}
    for step in range(N_STEPS):
        images, targets = inputs(learned, step)
        logits = functional_call(module, theta, (images,))
        if targets.ndim == 1:
            targets = functional.one_hot(targets, N_CLASSES).double()
        loss = -(targets * (logits - logits.logsumexp(1, keepdim=True))).sum(1).mean()
        gradients = torch.autograd.grad(loss, list(theta.values()), create_graph=True)
        for name, gradient in zip(theta, gradients, strict=True):
            speed[name] = momentum * speed[name] + gradient
            theta[name] = theta[name] - lr * speed[name]
    end = torch.cat([p.flatten() for p in theta.values()])
    wanted = [*learned.values(), lr]
    *by_name, of_lr = torch.autograd.grad(end_loss(end), wanted, allow_unused=True)
    return end.detach(), dict(zip(learned, by_name, strict=True)), of_lr


def distance(end):
    """A function of the end parameters that weights each of them differently."""
    target = torch.randn(len(end), generator=seeded_generator(5)).double()
    return (end - 0.1 * target).square().sum() + end.sin().sum()


def swept(module, inputs, learned, lr, *, momentum, n_kept=2):
    """Path and gradients by the sweep, with the graphs of the last steps kept."""
    of_step = 7 * inputs(learned, 0)[0][:, 0].numel() * WIDTH * 8
    kept = {"momentum": momentum, "kept_bytes": n_kept * of_step}
    training = InnerTraining(FlatNetwork(module), inputs, N_STEPS, WIDTH, **kept)
    rolled = roll_out(training, learned, flat_parameters(module), lr)
    assert sorted(rolled.graphs) == list(range(N_STEPS - n_kept, N_STEPS))
    end = rolled.path[-1].clone().requires_grad_()
    (end_gradient,) = torch.autograd.grad(distance(end), end)
    return rolled.path, sweep_back(training, learned, rolled, lr, end_gradient)


def error(got, wanted):
    """Norm of the difference beside the norm."""
    return float((got - wanted).norm() / wanted.norm())


@pytest.mark.parametrize("momentum", [0.0, 0.9])
@pytest.mark.parametrize("soft", [False, True])
@pytest.mark.parametrize("augment", [False, True])
@pytest.mark.parametrize("ratio", [None, 0.3])
@pytest.mark.parametrize("form", ["pixels", "addressed"])
def test_gradients_are_those_of_full_unrolling(form, ratio, augment, soft, momentum):
    """Images, bases, coefficients, labels and learning rate to 1e-9 of autograd through it all."""
    mask = None if ratio is None else MaskSpec(ratio=ratio)
    make = pixel_inputs if form == "pixels" else addressed_inputs
    names = ["images"] if form == "pixels" else ["bases", "coefficients"]
    inputs = make(mask=mask, augment=augment, soft=soft)
    learned, lr = learned_tensors([*names, "labels"]), torch.tensor(0.2, dtype=torch.float64)
    end, wanted, wanted_lr = unrolled(
        network(), inputs, learned, lr, momentum=momentum, end_loss=distance
    )
    for n_kept in (0, 2, N_STEPS):
        path, got = swept(network(), inputs, learned, lr, momentum=momentum, n_kept=n_kept)
        assert error(path[-1], end) < 1e-12
        for name in names:
            assert error(got.learned[name], wanted[name]) < 1e-9
        if soft:
            assert error(got.learned["labels"], wanted["labels"]) < 1e-9
        else:
            assert wanted["labels"] is None
            assert not got.learned["labels"].any()
        assert float(got.lr) == pytest.approx(float(wanted_lr), rel=1e-9)


def test_steps_reach_each_other():
    """What leaves out how a step changes the ones after it (as TESLA does) is far off here."""
    inputs = pixel_inputs(mask=None, augment=False, soft=False)
    learned, lr = learned_tensors(["images"]), torch.tensor(0.2, dtype=torch.float64)
    _, wanted, _ = unrolled(network(), inputs, learned, lr, momentum=0.0, end_loss=distance)
    path, got = swept(network(), inputs, learned, lr, momentum=0.0)
    end = path[-1].clone().requires_grad_()
    (end_gradient,) = torch.autograd.grad(distance(end), end)
    flat, without = FlatNetwork(network()), torch.zeros_like(learned["images"])
    for step in range(N_STEPS):
        leaf = learned["images"].clone().requires_grad_()
        images, targets = inputs({"images": leaf}, step)
        theta = path[step].clone().requires_grad_()
        loss = functional.cross_entropy(flat.logits(theta, images), targets)
        (gradient,) = torch.autograd.grad(loss, theta, create_graph=True)
        without -= lr * torch.autograd.grad(gradient @ end_gradient, leaf)[0]
    assert error(got.learned["images"], wanted["images"]) < 1e-9
    assert error(without, wanted["images"]) > 0.01


def test_roll_out_is_sgd():
    """The path is that of torch.optim.SGD with momentum on the module itself."""
    module, inputs = network(), pixel_inputs(mask=None, augment=False, soft=False)
    learned, lr = learned_tensors(["images"]), torch.tensor(0.2, dtype=torch.float64)
    path, _ = swept(network(), inputs, learned, lr, momentum=0.9)
    optimiser = torch.optim.SGD(module.parameters(), lr=0.2, momentum=0.9)
    for step in range(N_STEPS):
        images, targets = inputs(learned, step)
        optimiser.zero_grad()
        functional.cross_entropy(module(images), targets).backward()
        optimiser.step()
        torch.testing.assert_close(path[step + 1], flat_parameters(module), rtol=0, atol=1e-12)
    assert len(path) == N_STEPS + 1


def test_masked_pixels_get_no_gradient():
    """What is masked in every step that reads it is exactly 0, nearly all else is not."""
    mask = MaskSpec(ratio=0.5)

    def inputs(learned, step):
        masked = mask_images(mask, learned["images"], seeded_generator(7))
        return bend(masked, step), torch.arange(N_IMAGES) % N_CLASSES

    learned = learned_tensors(["images"])
    _, got = swept(network(), inputs, learned, torch.tensor(0.2, dtype=torch.float64), momentum=0.9)
    hidden = mask_images(mask, learned["images"], seeded_generator(7)) == 0
    assert 0.3 < float(hidden.double().mean()) < 0.7
    assert not got.learned["images"][hidden].any()
    assert float((got.learned["images"][~hidden] != 0).double().mean()) > 0.99


def test_nothing_learned_is_changed():
    """The sweep reads what is learned and leaves no graph on it."""
    learned, lr = learned_tensors(["images"]), torch.tensor(0.2, dtype=torch.float64)
    kept = learned["images"].clone()
    path, got = swept(
        network(), pixel_inputs(mask=None, augment=True, soft=False), learned, lr, momentum=0.5
    )
    assert torch.equal(learned["images"], kept)
    tensors = [*learned.values(), path, got.lr, *got.learned.values()]
    assert not any(tensor.requires_grad for tensor in tensors)


def test_a_path_that_leaves_the_finite_numbers_shows():
    """A learning rate far too large ends in parameters that are not finite, without an error."""
    inputs = pixel_inputs(mask=None, augment=False, soft=False)
    learned = learned_tensors(["images"])
    path, _ = swept(
        network(), inputs, learned, torch.tensor(1e300, dtype=torch.float64), momentum=0.0
    )
    assert not math.isfinite(float(path[-1].sum()))


def test_float32_is_close():
    """In the precision it runs in the images' gradient is right to 1e-4."""
    inputs = pixel_inputs(mask=None, augment=True, soft=False)
    learned, lr = learned_tensors(["images"]), torch.tensor(0.2)
    _, wanted, _ = unrolled(
        network(), inputs, learned, lr.double(), momentum=0.5, end_loss=distance
    )
    single = {"images": learned["images"].float()}

    def single_inputs(tensors, step):
        images, targets = inputs({"images": tensors["images"].double()}, step)
        return images.float(), targets

    training = InnerTraining(FlatNetwork(network().float()), single_inputs, N_STEPS, WIDTH, 0.5)
    rolled = roll_out(training, single, flat_parameters(network().float()), lr)
    end = rolled.path[-1].double().requires_grad_()
    (end_gradient,) = torch.autograd.grad(distance(end), end)
    got = sweep_back(training, single, rolled, lr, end_gradient.float())
    assert got.learned["images"].dtype == torch.float32
    assert error(got.learned["images"].double(), wanted["images"]) < 1e-4
