import pytest
import torch
from torch.nn import functional

from ddcal_core.distillation.dc import GradientMatching, gradient_distance
from ddcal_core.distillation.loop import distill
from ddcal_core.errors import InvalidDataError, StoppedError
from ddcal_core.networks import build_network
from ddcal_core.seeding import seeded_generator
from ddcal_core.specs.masks import MaskSpec
from ddcal_core.specs.methods.dc import DcSpec
from ddcal_core.specs.methods.dsa import DsaSpec
from ddcal_core.training.augmentation import augment, draw_augmentation
from ddcal_core.training.masking import draw_mask, mask_images
from ddcal_core.training.regularising import regularised, regularised_classes
from tests.core.distillation.regularisers import REGULARISERS
from tests.core.distillation.small_data import FACTS, SEED
from tests.core.distillation.small_data import real_data as small_data

ALL = ("color", "crop", "cutout", "flip", "scale", "rotate")


def spec_of(**changes):
    """A small DcSpec, or with augmentation a DsaSpec."""
    settings = {
        "images_per_class": 2,
        "iterations": 2,
        "outer_loops": 3,
        "inner_epochs": 2,
        "batch_real": 6,
        "batch_synthetic": 4,
        "lr": 0.5,
        "lr_network": 0.05,
        "width": 4,
        "depth": 2,
        "mask": MaskSpec(ratio=0.3),
    }
    settings |= changes
    return (
        DsaSpec(method="dsa", **settings)
        if "augmentation" in settings
        else DcSpec(method="dc", **settings)
    )


def real_data(dtype=torch.float64):
    """The small data in a precision."""
    images, labels = small_data()
    return images.to(dtype), labels


def backbone_of(spec, dtype=torch.float64):
    """The method on the real data."""
    return GradientMatching(*real_data(dtype), spec, FACTS, seed=SEED)


def distilled(spec, dtype=torch.float64, **keywords):
    """The images after all steps."""
    return distill(backbone_of(spec, dtype), n_steps=spec.iterations, **keywords).distilled.images


def start_of(spec, dtype=torch.float64):
    """The images before the first step."""
    return backbone_of(spec, dtype).initial_state()["images"]


def logits_of(parameters, images):
    """The ConvNet of two blocks, written out."""
    for block in range(2):
        weight, bias = (parameters[f"features.conv{block}.{n}"] for n in ("weight", "bias"))
        scale, shift = (parameters[f"features.norm{block}.{n}"] for n in ("weight", "bias"))
        images = functional.conv2d(images, weight, bias, padding=1)
        centred = images - images.mean((2, 3), keepdim=True)
        images = centred / (centred.square().mean((2, 3), keepdim=True) + 1e-5).sqrt()
        images = images * scale.view(-1, 1, 1) + shift.view(-1, 1, 1)
        images = images.relu().unfold(2, 2, 2).unfold(3, 2, 2).mean((4, 5))
    return images.flatten(1) @ parameters["classifier.weight"].T + parameters["classifier.bias"]


def slow_distance(got, wanted):
    """Row by row from the formula."""
    total = 0
    for one, other in zip(got, wanted, strict=True):
        for row, aim in zip(one, other, strict=True):
            norms = row.square().sum().sqrt() * aim.square().sum().sqrt()
            total = total + 1 - (row * aim).sum() / (norms + 1e-6)
    return total


def generator_of(purpose, *step):
    """The generator that a draw of the method has."""
    return seeded_generator(SEED, "distill", purpose, *step)


def slow_gradients(parameters, images, label, *, create_graph=False):
    """Cross-entropy's gradient by every weight of two or more dimensions."""
    weights = [value for value in parameters.values() if value.ndim >= 2]
    log_p = logits_of(parameters, images).log_softmax(1)
    own = torch.eye(3, dtype=torch.float64)[label] if label.ndim == 0 else label
    return torch.autograd.grad(-(log_p @ own).mean(), weights, create_graph=create_graph)


def slow_loss(spec, parameters, synthetic, step, loop):
    """The matching loss of one step on the images, class by class."""
    images, labels = real_data()
    mask = draw_mask(spec.mask, synthetic, generator_of("mask", step, loop))
    generator = generator_of("real", step, loop)
    ipc, loss, batches = spec.images_per_class, 0, []
    for label in range(3):
        own = images[labels == label]
        batches.append(own[torch.randperm(len(own), generator=generator)[: spec.batch_real]])
    drawn = generator_of("regulariser", step, loop)
    matched = regularised_classes(spec.regulariser, synthetic * mask, batches, drawn)
    for label, (real, target) in enumerate(zip(matched.real, matched.targets, strict=True)):
        change = draw_augmentation(spec.augmentation, generator_of("augment", step, loop, label))
        wanted = slow_gradients(parameters, augment(real, change), target)
        shown = augment(matched.images[label * ipc : (label + 1) * ipc], change)
        got = slow_gradients(parameters, shown, target, create_graph=True)
        loss = loss + slow_distance(got, wanted)
    return loss


def slow_training(spec, parameters, synthetic, step, loop):
    """Plain SGD on the set, batch by batch."""
    labels = torch.arange(3).repeat_interleave(spec.images_per_class)
    if spec.mask_inner:
        synthetic = synthetic * draw_mask(spec.mask, synthetic, generator_of("mask", step, loop))
    for epoch in range(spec.inner_epochs):
        order = torch.randperm(len(labels), generator=generator_of("order", step, loop, epoch))
        generator = generator_of("augment inner", step, loop, epoch)
        drawn = generator_of("regulariser inner", step, loop, epoch)
        regulariser = spec.regulariser if spec.mask_inner else None
        for batch in order.split(spec.batch_synthetic):
            mixed = regularised(regulariser, synthetic[batch], drawn)
            change = draw_augmentation(spec.augmentation, generator, n_images=len(batch))
            log_p = logits_of(parameters, augment(mixed.images, change)).log_softmax(1)
            targets = torch.eye(3, dtype=torch.float64)[labels[batch]]
            if mixed.partner is not None:
                targets = mixed.share * targets + (1 - mixed.share) * targets[mixed.partner]
            loss = -(targets * log_p).sum(1).mean()
            slopes = torch.autograd.grad(loss, list(parameters.values()))
            parameters = {
                name: (value - spec.lr_network * slope).detach().requires_grad_()
                for (name, value), slope in zip(parameters.items(), slopes, strict=True)
            }
    return parameters


def slow_distillation(spec):
    """Images and losses by the published loop, written from the formulas in float64."""
    synthetic, losses = start_of(spec), []
    speed = torch.zeros_like(synthetic)
    for step in range(spec.iterations):
        network = build_network(spec, FACTS, generator_of("network", step))
        parameters = {
            name: value.detach().double().requires_grad_()
            for name, value in network.named_parameters()
        }
        of_step = []
        for loop in range(spec.outer_loops):
            synthetic = synthetic.detach().requires_grad_()
            loss = slow_loss(spec, parameters, synthetic, step, loop)
            (gradient,) = torch.autograd.grad(loss, synthetic)
            speed = spec.momentum * speed + gradient
            synthetic = (synthetic - spec.lr * speed).detach()
            of_step.append(float(loss.detach()))
            if loop < spec.outer_loops - 1:
                parameters = slow_training(spec, parameters, synthetic, step, loop)
        losses.append(sum(of_step) / len(of_step))
    return synthetic, losses


@pytest.mark.parametrize(
    "changes",
    [
        {"mask": MaskSpec(ratio=0.0)},
        {"init": "noise"},
        {"mask_inner": False},
        {"outer_loops": 1, "images_per_class": 1, "iterations": 3},
        {"inner_epochs": 0, "batch_real": 256},
        {"augmentation": ALL, "iterations": 4},
        {"augmentation": ("flip", "crop"), "mask": MaskSpec(ratio=0.0), "momentum": 0.0},
        *({"regulariser": one} for one in REGULARISERS),
        {"regulariser": REGULARISERS[0], "mask_inner": False, "batch_synthetic": 4},
    ],
)
def test_images_and_losses_are_those_of_the_written_out_method(changes):
    """The published loop from its formulas, in float64, to rounding."""
    spec, reports = spec_of(**changes), []
    got = distilled(spec, on_progress=reports.append)
    images, losses = slow_distillation(spec)
    torch.testing.assert_close(got, images, rtol=1e-7, atol=1e-8)
    assert [report.values["loss"] for report in reports] == pytest.approx(losses, rel=1e-9)
    assert not torch.allclose(got, start_of(spec), atol=1e-3)


def test_the_gradient_is_that_of_differences():
    """One step without momentum is -lr times the slope of the slow loss, pixel by pixel."""
    spec = spec_of(iterations=1, outer_loops=1, momentum=0.0, lr=1.0, augmentation=("rotate",))
    start = start_of(spec)
    moved = distilled(spec) - start
    network = build_network(spec, FACTS, generator_of("network", 0))
    parameters = {n: p.detach().double().requires_grad_() for n, p in network.named_parameters()}
    for index in [(0, 0, 1, 1), (1, 1, 5, 2), (3, 0, 4, 4), (5, 1, 7, 0), (2, 0, 3, 6)]:
        values = []
        for shift in (1e-6, -1e-6):
            shifted = start.clone()
            shifted[index] += shift
            values.append(float(slow_loss(spec, parameters, shifted, 0, 0).detach()))
        slope = (values[0] - values[1]) / 2e-6
        assert float(moved[index]) == pytest.approx(-slope, rel=1e-5, abs=1e-8)


def test_ratio_zero_is_the_unmasked_method_bit_for_bit(monkeypatch):
    """In float32, the bytes of a run in which no mask is ever laid on anything."""
    spec = spec_of(mask=MaskSpec(ratio=0.0))
    masked = distilled(spec, torch.float32)
    monkeypatch.setattr(
        "ddcal_core.distillation.dc.mask_images", lambda _spec, images, _: images * 1
    )
    assert torch.equal(distilled(spec, torch.float32), masked)


def test_masked_pixels_do_not_move():
    """After one step what the mask hid has not changed by a bit, and nearly all else has."""
    spec = spec_of(iterations=1, outer_loops=1, augmentation=("rotate",))
    start = start_of(spec, torch.float32)
    hidden = draw_mask(spec.mask, start, generator_of("mask", 0, 0)).expand_as(start) == 0
    is_moved = distilled(spec, torch.float32) != start
    assert not is_moved[hidden].any()
    assert is_moved[~hidden].double().mean() > 0.9
    assert 0.2 < float(hidden.double().mean()) < 0.4


def test_the_mask_of_the_training_is_a_switch():
    """With and without it the networks differ, and so do the images."""
    assert not torch.equal(distilled(spec_of()), distilled(spec_of(mask_inner=False)))


def test_noise_in_masked_pixels_is_no_gradient():
    """With fill noise too a hidden pixel stays where it is."""
    mask = MaskSpec(ratio=0.5, fill="noise")
    spec = spec_of(mask=mask, iterations=1, outer_loops=1)
    start = start_of(spec)
    ones = mask_images(mask, torch.full_like(start, 9.0), generator_of("mask", 0, 0))
    is_moved = distilled(spec) != start
    assert not is_moved[ones != 9].any()
    assert is_moved[ones == 9].double().mean() > 0.9


@pytest.mark.long
@pytest.mark.parametrize("n_stopped", [1, 3, 4])
@pytest.mark.parametrize("method", ["dc", "dsa"])
def test_a_resumed_run_ends_in_the_same_bytes(method, n_stopped):
    """Stopped after a step and gone on from its last checkpoint."""
    spec = spec_of(iterations=5, **({"augmentation": ALL} if method == "dsa" else {}))
    kept = []

    def stop(report):
        if report.step == n_stopped + 1:
            raise StoppedError

    with pytest.raises(StoppedError):
        distilled(spec, torch.float32, on_checkpoint=kept.append, on_progress=stop)
    assert kept[-1].step == n_stopped
    again = distilled(spec, torch.float32, resume_from=kept[-1])
    assert torch.equal(again, distilled(spec, torch.float32))


def test_real_images_and_the_global_generator_are_left_alone():
    """Learning begins from copies and draws from generators of its own."""
    before = torch.get_rng_state()
    images, labels = real_data()
    kept, spec = images.clone(), spec_of(images_per_class=9)
    distill(GradientMatching(images, labels, spec, FACTS, seed=SEED), n_steps=1)
    assert torch.equal(images, kept)
    assert torch.equal(torch.get_rng_state(), before)


def test_distance_counts_rows():
    """Equal rows 0, opposite ones 2, right angles 1, rows of zeros 1; a scale does not count."""
    aims = torch.tensor([[3.0, 4.0], [3.0, 4.0], [3.0, 4.0], [3.0, 4.0]], dtype=torch.float64)
    rows = torch.tensor([[6.0, 8.0], [-3.0, -4.0], [4.0, -3.0], [0.0, 0.0]], dtype=torch.float64)
    assert float(gradient_distance([rows], [aims])) == pytest.approx(4, abs=1e-6)
    stacked = [rows.view(4, 1, 2, 1), rows[:1]]
    assert float(gradient_distance(stacked, [aims.view(4, 1, 2, 1), aims[:1]])) == pytest.approx(
        4, abs=1e-6
    )


def test_a_set_without_a_gradient_has_the_stuck_loss(monkeypatch):
    """Gradients of the synthetic images of 0 count 1 a row and class, whatever the real ones."""
    backbone = backbone_of(spec_of(mask=MaskSpec(ratio=0.0)), torch.float32)
    summed = GradientMatching._summed_loss

    def flat(self, images, label):
        return summed(self, images, label) * (0.0 if images.requires_grad else 1.0)

    monkeypatch.setattr(GradientMatching, "_summed_loss", flat)
    loss = backbone.step(backbone.initial_state(), 0, lr_scale=1.0)
    assert loss == pytest.approx(backbone.stuck_loss, rel=1e-6)


def test_a_class_without_real_images_is_refused():
    """In words, before anything is computed."""
    images, labels = real_data()
    spec = spec_of(init="noise")
    with pytest.raises(InvalidDataError, match="class 1 has none"):
        GradientMatching(images[labels != 1], labels[labels != 1], spec, FACTS, seed=0)
