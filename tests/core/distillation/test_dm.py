import math

import pytest
import torch
from torch.nn import functional

from ddcal_core.distillation.dm import DistributionMatching
from ddcal_core.distillation.loop import distill
from ddcal_core.errors import DivergedError, InvalidDataError, StoppedError
from ddcal_core.networks import build_network
from ddcal_core.seeding import seeded_generator
from ddcal_core.specs.masks import MaskSpec
from ddcal_core.specs.methods.dm import DmSpec
from ddcal_core.training.augmentation import augment, draw_augmentation
from ddcal_core.training.masking import draw_mask
from ddcal_core.training.regularising import regularised_classes
from tests.core.distillation.regularisers import REGULARISERS
from tests.core.distillation.small_data import FACTS, SEED, real_data


def spec_of(**changes):
    """A small DmSpec."""
    settings = {
        "images_per_class": 2,
        "iterations": 3,
        "batch_real": 6,
        "lr": 0.5,
        "width": 4,
        "depth": 2,
        "mask": MaskSpec(ratio=0.3),
    }
    return DmSpec(method="dm", **settings | changes)


def distill_dm(images, labels, spec, *, seed=SEED, **keywords):
    """The distilled set of real images, after all steps."""
    backbone = DistributionMatching(images, labels, spec, FACTS, seed=seed)
    return distill(backbone, n_steps=spec.iterations, **keywords).distilled


def distilled(spec, *, seed=SEED, **keywords):
    """The distilled set of the real data."""
    return distill_dm(*real_data(), spec, seed=seed, **keywords)


def embed(network, images):
    """The ConvNet's features written out in the dtype of the images."""
    values = {name: p.detach().to(images.dtype) for name, p in network.named_parameters()}
    for block in range(2):
        images = functional.conv2d(
            images,
            values[f"features.conv{block}.weight"],
            values[f"features.conv{block}.bias"],
            padding=1,
        )
        centred = images - images.mean((2, 3), keepdim=True)
        images = centred / (centred.square().mean((2, 3), keepdim=True) + 1e-5).sqrt()
        images = images.relu()
        images = images.unfold(2, 2, 2).unfold(3, 2, 2).mean((4, 5))
    return images.flatten(1)


def draws_of(spec, step, synthetic):
    """Network, mask and the real batch of each class that an iteration draws."""
    images, labels = real_data()
    network = build_network(spec, FACTS, seeded_generator(SEED, "distill", "network", step))
    mask = draw_mask(spec.mask, synthetic, seeded_generator(SEED, "distill", "mask", step))
    generator = seeded_generator(SEED, "distill", "real", step)
    batches = []
    for label in range(3):
        own = images[labels == label]
        batches.append(own[torch.randperm(len(own), generator=generator)[: spec.batch_real]])
    return network, mask, batches


def slow_loss(spec, step, synthetic):
    """The loss of one iteration by the formula, class by class and image by image, float64."""
    network, mask, batches = draws_of(spec, step, synthetic)
    ipc, loss = spec.images_per_class, torch.zeros((), dtype=torch.float64)
    drawn = seeded_generator(SEED, "distill", "regulariser", step)
    matched = regularised_classes(spec.regulariser, mask * synthetic, batches, drawn)
    batches = matched.real
    for label, batch in enumerate(batches):
        generator = seeded_generator(SEED, "distill", "augment", step, label)
        change = draw_augmentation(spec.augmentation, generator)
        shown = [augment(image[None].double(), change) for image in batch]
        real = sum(embed(network, image)[0] for image in shown) / len(batch)
        own = range(label * ipc, (label + 1) * ipc)
        shown = [augment(matched.images[i][None], change) for i in own]
        learned = sum(embed(network, image)[0] for image in shown) / ipc
        loss = loss + (real - learned).square().sum()
    return loss


def slow_distillation(spec, start):
    """Images and losses by SGD with momentum written out, float64."""
    synthetic, speed, losses = start.double(), torch.zeros_like(start.double()), []
    for step in range(spec.iterations):
        synthetic.requires_grad_()
        loss = slow_loss(spec, step, synthetic)
        (gradient,) = torch.autograd.grad(loss, synthetic)
        speed = spec.momentum * speed + gradient
        synthetic = (synthetic - spec.lr * speed).detach()
        losses.append(float(loss.detach()))
    return synthetic, losses


def start_of(spec):
    """The images before the first step, by way of steps too small to see."""
    return distilled(spec.model_copy(update={"iterations": 1, "lr": 1e-30})).images


@pytest.mark.parametrize("regulariser", REGULARISERS, ids=lambda one: one.name)
def test_regularised_steps_are_those_of_the_written_out_method(regulariser):
    """After the mask, before the augmentation; what is blended is blended on both sides."""
    spec = spec_of(regulariser=regulariser, augmentation=("flip", "crop"), momentum=0.5)
    got = distilled(spec)
    images, _ = slow_distillation(spec, start_of(spec))
    torch.testing.assert_close(got.images.double(), images, rtol=1e-4, atol=1e-4)
    plain = distilled(spec.model_copy(update={"regulariser": None}))
    assert not torch.allclose(got.images, plain.images, atol=1e-2)


@pytest.mark.parametrize("init", ["real", "noise"])
@pytest.mark.parametrize("ratio", [0.0, 0.4])
@pytest.mark.parametrize("batch_real", [6, 256])
def test_images_and_losses_are_those_of_the_written_out_method(init, ratio, batch_real):
    """Four iterations equal a slow loop over classes and images from the formula, in float64."""
    spec = spec_of(
        init=init, mask=MaskSpec(ratio=ratio), batch_real=batch_real, iterations=4, momentum=0.5
    )
    reports = []
    got = distilled(spec, on_progress=reports.append)
    images, losses = slow_distillation(spec, start_of(spec))
    torch.testing.assert_close(got.images.double(), images, rtol=1e-4, atol=1e-4)
    assert [r.values["loss"] for r in reports] == pytest.approx(losses, rel=1e-4)


def test_options_of_the_mask_are_those_of_the_distillation():
    """Independent channels in patches, one mask for all: the written out method with that mask."""
    mask = MaskSpec(ratio=0.5, unit="patch", patch_size=3, channels="independent", scope="shared")
    spec = spec_of(mask=mask, iterations=2)
    images, _ = slow_distillation(spec, start_of(spec))
    torch.testing.assert_close(distilled(spec).images.double(), images, rtol=1e-4, atol=1e-4)


def test_augmentation_is_siamese():
    """One change a class and step, on real and masked images alike, of all that may be drawn."""
    names = ("color", "crop", "cutout", "flip", "scale", "rotate")
    spec = spec_of(augmentation=names, iterations=6)
    images, losses = slow_distillation(spec, start_of(spec))
    reports = []
    got = distilled(spec, on_progress=reports.append)
    torch.testing.assert_close(got.images.double(), images, rtol=1e-4, atol=1e-4)
    assert [r.values["loss"] for r in reports] == pytest.approx(losses, rel=1e-4)
    plain = distilled(spec.model_copy(update={"augmentation": ()}))
    assert not torch.allclose(got.images, plain.images, atol=1e-2)


def test_one_step_goes_down_the_slope():
    """One step without momentum is -lr times the gradient by central differences."""
    spec = spec_of(iterations=1, momentum=0.0, lr=1.0)
    start = start_of(spec).double()
    moved = distilled(spec).images.double() - start
    for index in [(0, 0, 1, 1), (1, 1, 5, 2), (3, 0, 4, 4), (5, 1, 7, 0), (2, 0, 3, 6)]:
        ahead, behind = start.clone(), start.clone()
        ahead[index] += 1e-6
        behind[index] -= 1e-6
        slope = float(slow_loss(spec, 0, ahead) - slow_loss(spec, 0, behind)) / 2e-6
        assert float(moved[index]) == pytest.approx(-slope, rel=1e-3, abs=2e-6)


def test_ratio_zero_is_the_unmasked_method_bit_for_bit():
    """At ratio 0 the images are those of a loop that knows no mask, every bit of them."""
    spec = spec_of(mask=MaskSpec(ratio=0), iterations=5)
    synthetic = start_of(spec).clone().requires_grad_()
    optimiser = torch.optim.SGD([synthetic], lr=spec.lr, momentum=spec.momentum)
    for step in range(spec.iterations):
        network, _, batches = draws_of(spec, step, synthetic)
        network.requires_grad_(False)
        real = torch.stack([network.embed(batch).mean(0) for batch in batches])
        learned = network.embed(synthetic).view(3, spec.images_per_class, -1).mean(1)
        optimiser.zero_grad()
        (real - learned).square().sum().backward()
        optimiser.step()
    assert torch.equal(distilled(spec).images, synthetic.detach())


def test_masked_pixels_do_not_move():
    """After one step what the mask hid has not changed by a bit, and nearly all else has."""
    spec = spec_of(iterations=1, momentum=0.0)
    start = start_of(spec)
    hidden = draws_of(spec, 0, start)[1].expand_as(start) == 0
    is_moved = distilled(spec).images != start
    assert not is_moved[hidden].any()
    assert is_moved[~hidden].double().mean() > 0.99
    assert 0.2 < float(hidden.double().mean()) < 0.4


def test_every_iteration_masks_anew():
    """Over many iterations at ratio 0.9 every pixel has moved."""
    spec = spec_of(iterations=60, mask=MaskSpec(ratio=0.9))
    assert (distilled(spec).images != start_of(spec)).double().mean() > 0.98


def test_set_has_its_shape_and_labels():
    """Float32 images in network-input space, class 0 first; no gradient hangs on."""
    got = distilled(spec_of(images_per_class=4))
    assert got.images.shape == (12, 2, 8, 8)
    assert got.images.dtype == torch.float32
    assert not got.images.requires_grad
    assert got.labels.tolist() == [0] * 4 + [1] * 4 + [2] * 4
    assert got.labels.dtype == torch.int64


def test_real_start_is_real_images_of_each_class():
    """Before the first step each image is a real one of its label, none twice."""
    images, labels = real_data()
    start = start_of(spec_of(images_per_class=9))
    found = [(image == images).flatten(1).all(1).nonzero().item() for image in start]
    assert labels[found].tolist() == [0] * 9 + [1] * 9 + [2] * 9
    assert len(set(found)) == 27


def test_noise_start_is_standard_normal():
    """Mean 0 and deviation 1 within five standard errors; no real image is looked at."""
    spec = spec_of(init="noise", images_per_class=30)
    start = start_of(spec)
    n = start.numel()
    assert abs(float(start.mean())) < 5 / n**0.5
    assert abs(float(start.std()) - 1) < 5 / (2 * n) ** 0.5
    images, labels = real_data()
    other = distill_dm(images + 1, labels, spec.model_copy(update={"lr": 1e-30}))
    torch.testing.assert_close(other.images, start)


def test_input_is_left_as_it_was():
    """The real images do not change though learning starts from copies of them."""
    images, labels = real_data()
    kept = images.clone()
    distill_dm(images, labels, spec_of(images_per_class=9))
    assert torch.equal(images, kept)


def test_features_come_closer():
    """From noise, the distance to the real mean features falls in networks never seen."""
    spec = spec_of(init="noise", iterations=40, lr=5.0, mask=MaskSpec(ratio=0))
    start, end = start_of(spec).double(), distilled(spec).images.double()
    unseen = range(1000, 1010)
    before = sum(float(slow_loss(spec, step, start)) for step in unseen)
    after = sum(float(slow_loss(spec, step, end)) for step in unseen)
    assert after < 0.5 * before


def test_progress_is_told_after_every_iteration():
    """Steps 1 to n of n with a finite loss each."""
    reports = []
    distilled(spec_of(iterations=4), on_progress=reports.append)
    assert [(r.phase, r.step, r.steps) for r in reports] == [
        ("distill", i, 4) for i in (1, 2, 3, 4)
    ]
    assert all(math.isfinite(r.values["loss"]) for r in reports)


def test_equal_seeds_give_equal_bytes():
    """The same seed gives the same images and leaves the global generator alone."""
    before = torch.get_rng_state()
    first, again, other = (distilled(spec_of(), seed=seed) for seed in (1, 1, 2))
    assert torch.equal(first.images, again.images)
    assert not torch.equal(first.images, other.images)
    assert torch.equal(torch.get_rng_state(), before)


def test_the_caller_can_stop_it():
    """StoppedError from the callback comes through at once."""
    seen = []

    def stop_at_two(report):
        seen.append(report.step)
        if report.step == 2:
            raise StoppedError

    with pytest.raises(StoppedError):
        distilled(spec_of(iterations=9), on_progress=stop_at_two)
    assert seen == [1, 2]


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_loss_that_is_not_finite_ends_it(value):
    """A broken real image is told as divergence in the first iteration."""
    images, labels = real_data()
    images[0, 0, 0, 0] = value
    reports = []
    with pytest.raises(DivergedError, match="at step 1;") as caught:
        distill_dm(
            images,
            labels,
            spec_of(init="noise", batch_real=256),
            seed=0,
            on_progress=reports.append,
        )
    assert caught.value.step == 1
    assert reports == []


def test_too_few_real_images_are_refused():
    """A class that cannot give images_per_class is named."""
    with pytest.raises(InvalidDataError, match=r"10 images of each .* class 1 has 9"):
        distilled(spec_of(images_per_class=10))


def test_a_class_without_real_images_is_refused():
    """From noise too every class needs images to match, and labels have to be classes."""
    images, labels = real_data()
    spec = spec_of(init="noise")
    with pytest.raises(InvalidDataError, match="class 1 has none"):
        distill_dm(images[labels != 1], labels[labels != 1], spec, seed=0)
    with pytest.raises(InvalidDataError, match="0 to 2, got 0 to 3"):
        distill_dm(images, labels + (labels == 2), spec, seed=0)


def test_a_network_too_deep_is_refused():
    """Images of 8 x 8 cannot be halved four times."""
    with pytest.raises(ValueError, match="8 x 8 cannot be halved 4 times"):
        distilled(spec_of(depth=4))
