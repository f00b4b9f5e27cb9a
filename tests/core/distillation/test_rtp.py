import math

import numpy as np
import pytest
import torch
from torch.func import functional_call
from torch.nn import functional

from ddcal_core.distillation.loop import distill
from ddcal_core.distillation.rtp import RememberingThePast, decode
from ddcal_core.errors import InvalidDataError
from ddcal_core.networks import build_network
from ddcal_core.seeding import seeded_generator
from ddcal_core.specs.facts import DatasetFacts
from ddcal_core.specs.masks import MaskSpec
from ddcal_core.specs.methods.rtp import RtpSpec
from ddcal_core.training.augmentation import augment_each
from ddcal_core.training.masking import draw_mask
from ddcal_core.training.regularising import regularised
from tests.core.distillation.regularisers import REGULARISERS
from tests.core.distillation.trajectories import FACTS, SEED, real_data

ALL = ("color", "crop", "cutout", "flip", "scale", "rotate")


def spec_of(**changes):
    """A small RtpSpec: 3 bases of 2 x 4 x 4 and (3 * 128 * 2 - 96) / 9 = 74 images per class."""
    settings = {
        "method": "rtp",
        "images_per_class": 2,
        "iterations": 3,
        "n_bases": 3,
        "inner_steps": 4,
        "batch_per_class": 3,
        "lr_network": 0.1,
        "batch_real": 5,
        "lr": 2.0,
        "width": 4,
        "depth": 2,
        "mask": MaskSpec(ratio=0.3),
    }
    return RtpSpec(**settings | changes)


def backbone_of(spec, *, seed=SEED):
    """The method on the real data."""
    return RememberingThePast(*real_data(), spec, FACTS, seed=seed)


def generator_of(purpose, *path):
    """The generator of a draw, by its name."""
    return seeded_generator(SEED, "distill", purpose, *path)


def slow_decoded(state):
    """The whole set, image by image and basis by basis."""
    if "images" in state:
        return state["images"]
    images = []
    for row in state["coefficients"]:
        small = sum(weight * basis for weight, basis in zip(row, state["bases"], strict=True))
        images.append(
            functional.interpolate(small[None], size=(8, 8), mode="bilinear", align_corners=False)[
                0
            ]
        )
    return torch.stack(images)


def slow_batch(spec, per_class, step, inner, classes):
    """The images that an inner step sees, class after class; all where they are few."""
    if spec.batch_per_class >= per_class and len(classes) == 3:
        return torch.arange(3 * per_class)
    generator = generator_of("memories", step, inner)
    orders = [torch.randperm(per_class, generator=generator) for _ in classes]
    return torch.cat(
        [
            label * per_class + order[: spec.batch_per_class]
            for label, order in zip(classes, orders, strict=True)
        ]
    )


def slow_real(spec, step, classes):
    """Augmented real images of an iteration and their labels."""
    images, labels = real_data()
    generator = generator_of("real", step)
    own = [(labels == label).nonzero()[:, 0] for label in range(3)]
    drawn = [index[torch.randperm(len(index), generator=generator)] for index in own]
    chosen = torch.cat([drawn[label][: spec.batch_real] for label in classes])
    seen = augment_each(images[chosen], spec.augmentation, generator_of("augment real", step))
    return seen.double(), labels[chosen]


def slow_loss(spec, step, state):
    """The loss of one iteration by full unrolling on the module's own parameters, float64."""
    classes = [0, 1, 2]
    if spec.task_classes is not None:
        order = torch.randperm(3, generator=generator_of("classes", step))
        classes = order[: spec.task_classes].tolist()
    module = build_network(spec, FACTS, generator_of("network", step)).double()
    theta = {name: p.detach().requires_grad_() for name, p in module.named_parameters()}
    speed = {name: torch.zeros_like(p) for name, p in theta.items()}
    images = slow_decoded(state)
    held = draw_mask(spec.mask, images, generator_of("mask", step))
    per_class = len(images) // 3
    for inner in range(spec.inner_steps):
        batch = slow_batch(spec, per_class, step, inner, classes)
        seen = images[batch]
        if spec.mask_redraw == "step":
            seen = seen * draw_mask(spec.mask, seen, generator_of("mask", step, inner))
        else:
            seen = seen * held[batch]
        mixed = regularised(spec.regulariser, seen, generator_of("regulariser", step, inner))
        drawn = generator_of("augment", step, inner)
        seen = augment_each(mixed.images, spec.augmentation, drawn)
        targets = functional.one_hot(batch // per_class, 3).double()
        if spec.labels == "soft":
            targets = state["labels"][batch].softmax(1)
        if mixed.partner is not None:
            targets = mixed.share * targets + (1 - mixed.share) * targets[mixed.partner]
        logits = functional_call(module, theta, (seen,))
        loss = -(targets * logits.log_softmax(1)).sum(1).mean()
        gradients = torch.autograd.grad(loss, list(theta.values()), create_graph=True)
        for name, gradient in zip(theta, gradients, strict=True):
            speed[name] = spec.momentum_network * speed[name] + gradient
            theta[name] = theta[name] - spec.lr_network * speed[name]
    real, labels = slow_real(spec, step, classes)
    logits = functional_call(module, theta, (real,))
    return -logits.log_softmax(1)[torch.arange(len(labels)), labels].mean()


def slow_run(spec, state, n_steps):
    """What is learned, and losses, by clipped SGD with momentum written out, float64."""
    values = {name: v.double() for name, v in state.items() if not name.endswith(".momentum")}
    speeds = {name: torch.zeros_like(value) for name, value in values.items()}
    losses = []
    for step in range(n_steps):
        leaves = {name: value.requires_grad_() for name, value in values.items()}
        loss = slow_loss(spec, step, leaves)
        gradients = torch.autograd.grad(loss, list(leaves.values()))
        norm = math.sqrt(sum(float(gradient.square().sum()) for gradient in gradients))
        clip = min(1.0, spec.clip_norm / norm)
        for (name, leaf), gradient in zip(leaves.items(), gradients, strict=True):
            speeds[name] = spec.momentum * speeds[name] + clip * gradient
            values[name] = (leaf - spec.lr * speeds[name]).detach()
        losses.append(float(loss.detach()))
    return values, losses


@pytest.mark.parametrize(
    "changes",
    [
        {"mask": MaskSpec(ratio=0)},
        {"clip_norm": 1e-3},
        {"init": "noise", "augmentation": ALL, "labels": "soft", "mask_redraw": "step"},
        {"form": "pixels", "images_per_class": 5},
        {"form": "pixels", "init": "noise", "labels": "soft", "task_classes": 2},
        {"form": "pixels", "augmentation": ("rotate",), "batch_per_class": 2},
        *({"regulariser": one, "task_classes": 2} for one in REGULARISERS),
        {"regulariser": REGULARISERS[0], "labels": "soft", "form": "pixels"},
    ],
)
def test_what_is_learned_is_that_of_the_written_out_method(changes):
    """Three iterations equal full unrolling in float64: bases, coefficients, images, labels."""
    # From real images SVD has to find enough of each class.
    spec = spec_of(**{"n_bases": 14} | changes)
    backbone = backbone_of(spec)
    state = backbone.initial_state()
    wanted, losses = slow_run(spec, backbone.initial_state(), 3)
    got = [backbone.step(state, step, lr_scale=1.0) for step in range(3)]
    assert got == pytest.approx(losses, rel=1e-4)
    for name, value in wanted.items():
        moved = (value - backbone.initial_state()[name]).norm()
        assert moved > 0
        assert (state[name].double() - value).norm() < 2e-3 * moved, name


def test_budget_of_cifar10_is_the_published_one():
    """16 bases of half the side leave 115 images a class of the numbers of one image per class."""
    facts = FACTS.model_copy(
        update={"image_shape": (3, 32, 32), "class_names": tuple("abcdefghij")}
    )
    spec = RtpSpec(method="rtp", images_per_class=1, n_bases=16, downscale=2)
    assert spec.decoded_per_class(facts) == 115
    assert spec.storage(facts) == {
        "budget": 30_720,
        "bases": 12_288,
        "coefficients": 18_400,
        "labels": 0,
        "stored": 30_688,
        "decoded_images_per_class": 115,
    }
    soft = spec.model_copy(update={"labels": "soft"})
    assert soft.decoded_per_class(facts) == (30_720 - 12_288) // (10 * (16 + 10))
    stored = soft.storage(facts)
    assert stored["labels"] == 10 * 10 * stored["decoded_images_per_class"]
    assert stored["stored"] <= 30_720


@pytest.mark.parametrize(
    ("shape", "n_classes", "n_bases", "downscale"),
    [((1, 28, 28), 10, 7, 3), ((3, 9, 7), 4, 5, 2), ((1, 8, 8), 10, 16, 2), ((1, 8, 8), 2, 9, 1)],
)
@pytest.mark.parametrize("labels", ["hard", "soft"])
def test_what_is_stored_fills_the_budget(shape, n_classes, n_bases, downscale, labels):
    """It never goes over it, and one image per class more would; sides are rounded up."""
    facts = DatasetFacts.model_construct(
        image_shape=shape, class_names=tuple("abcdefghij"[:n_classes])
    )
    spec = RtpSpec(
        method="rtp", images_per_class=6, n_bases=n_bases, downscale=downscale, labels=labels
    )
    stored = spec.storage(facts)
    sides = math.ceil(shape[1] / downscale) * math.ceil(shape[2] / downscale)
    assert stored["bases"] == n_bases * shape[0] * sides
    assert stored["budget"] == 6 * n_classes * math.prod(shape)
    one_more = n_classes * (n_bases + (n_classes if labels == "soft" else 0))
    assert stored["stored"] <= stored["budget"] < stored["stored"] + one_more


def test_a_budget_without_room_for_an_image_is_refused():
    """Bases alone use it up."""
    with pytest.raises(
        InvalidDataError, match=r"at least one image per class; 1 .* beside 16 bases"
    ):
        backbone_of(spec_of(images_per_class=1, n_bases=16))


def test_the_set_is_the_decoded_one():
    """Images of labels class 0 first, from the bases and coefficients that come along."""
    spec = spec_of(init="noise", n_bases=3)
    backbone = backbone_of(spec)
    got = backbone.distilled_set(backbone.initial_state())
    assert got.images.shape == (3 * 74, 2, 8, 8)
    assert got.labels.tolist() == [0] * 74 + [1] * 74 + [2] * 74
    assert got.compact.keys() == {"bases", "coefficients"}
    assert got.compact["bases"].shape == (3, 2, 4, 4)
    assert torch.equal(got.images, decode(**got.compact, size=(8, 8)))
    torch.testing.assert_close(got.images, slow_decoded(got.compact), rtol=1e-5, atol=1e-6)
    assert got.learned_lr is None
    pixels = backbone_of(spec_of(form="pixels")).distilled_set(
        backbone_of(spec_of(form="pixels")).initial_state()
    )
    assert pixels.images.shape == (6, 2, 8, 8)
    assert not pixels.compact


def test_real_bases_come_closest_to_real_images():
    """Their error is that of numpy's singular values left out; pixels are real images."""
    spec = spec_of(n_bases=14)
    backbone = backbone_of(spec)
    state, per_class = backbone.initial_state(), spec.decoded_per_class(FACTS)
    images, labels = real_data()
    generator, small = generator_of("init"), []
    for label in range(3):
        own = images[labels == label]
        small.append(own[torch.randperm(len(own), generator=generator)[:per_class]])
    halved = torch.cat(small).unfold(2, 2, 2).unfold(3, 2, 2).mean((4, 5)).flatten(1)
    values = np.linalg.svd(halved.double().numpy(), compute_uv=False)
    error = (state["coefficients"] @ state["bases"].flatten(1) - halved).norm()
    assert float(error) == pytest.approx(np.sqrt((values[14:] ** 2).sum()), rel=1e-4)
    start = backbone_of(spec_of(form="pixels")).initial_state()["images"]
    assert all(bool((image == images).flatten(1).all(1).any()) for image in start)


def test_more_bases_than_real_images_span_are_left_to_learn():
    """The rest keeps its noise and has no part in any image yet."""
    spec = spec_of(n_bases=20, images_per_class=7, downscale=1)
    assert spec.decoded_per_class(FACTS) * 3 < 20
    state = backbone_of(spec).initial_state()
    rank = spec.decoded_per_class(FACTS) * 3
    assert not state["coefficients"][:, rank:].any()
    assert state["bases"][rank:].flatten(1).norm(dim=1).min() > 0.1


def test_noise_starts_near_zero():
    """Uniform within the bounds of Glorot and Bengio, for bases, coefficients and pixels."""
    state = backbone_of(spec_of(init="noise")).initial_state()
    pixels = backbone_of(spec_of(init="noise", form="pixels")).initial_state()["images"]
    for value, bound in [
        (state["bases"], math.sqrt(6 / (3 + 32))),
        (state["coefficients"], math.sqrt(6 / (222 + 3))),
        (pixels, math.sqrt(6 / (6 + 128))),
    ]:
        assert 0.8 * bound < float(value.abs().max()) <= bound
        assert float(value.std()) == pytest.approx(bound / math.sqrt(3), rel=0.2)


@pytest.mark.parametrize("form", ["pixels", "bases"])
def test_ratio_zero_is_the_unmasked_method_bit_for_bit(form, monkeypatch):
    """At ratio 0 a run is, every bit of it, that of a method from which the mask is taken out."""
    spec = spec_of(mask=MaskSpec(ratio=0), form=form, init="noise")
    masked = distill(backbone_of(spec), n_steps=2).distilled
    monkeypatch.setattr(
        "ddcal_core.distillation.inner_steps.mask_images", lambda _spec, images, _generator: images
    )
    plain = distill(backbone_of(spec), n_steps=2).distilled
    assert torch.equal(masked.images, plain.images)
    assert not torch.equal(masked.images, distill(backbone_of(spec), n_steps=1).distilled.images)


def test_masked_pixels_do_not_move():
    """After one iteration what its mask hid has not changed by a bit, nearly all else has."""
    spec = spec_of(form="pixels", mask=MaskSpec(ratio=0.4))
    backbone = backbone_of(spec)
    before, state = backbone.initial_state()["images"], backbone.initial_state()
    backbone.step(state, 0, lr_scale=1.0)
    hidden = draw_mask(spec.mask, before, generator_of("mask", 0)).expand_as(before) == 0
    is_moved = state["images"] != before
    assert not is_moved[hidden].any()
    assert is_moved[~hidden].double().mean() > 0.99


def test_classes_outside_the_task_do_not_move():
    """With two classes of three the images of the third stay as they are."""
    backbone = backbone_of(spec_of(form="pixels", task_classes=2, mask=MaskSpec(ratio=0)))
    before, state = backbone.initial_state()["images"], backbone.initial_state()
    backbone.step(state, 0, lr_scale=1.0)
    drawn = torch.randperm(3, generator=generator_of("classes", 0))[:2].tolist()
    moved = (state["images"] != before).flatten(1).any(1).view(3, 2).all(1)
    assert moved.nonzero()[:, 0].tolist() == sorted(drawn)


@pytest.mark.long
def test_learning_helps():
    """Over thirty iterations the loss on real images falls."""
    losses = []
    distill(
        backbone_of(spec_of(form="pixels", mask=MaskSpec(ratio=0), inner_steps=8, init="noise")),
        n_steps=30,
        on_progress=lambda report: losses.append(report.values["loss"]),
    )
    assert sum(losses[-5:]) < 0.8 * sum(losses[:5])


@pytest.mark.parametrize(
    "changes", [{}, {"form": "pixels", "labels": "soft", "augmentation": ALL, "task_classes": 2}]
)
def test_a_run_that_was_stopped_ends_in_the_same_bytes(changes):
    """Gone on with from any checkpoint the set is that of a run left alone, every bit."""
    spec = spec_of(**{"init": "noise"} | changes)
    checkpoints = []
    whole = distill(backbone_of(spec), n_steps=6, on_checkpoint=checkpoints.append)
    for at in (0, 3):
        again = distill(backbone_of(spec), n_steps=6, resume_from=checkpoints[at])
        assert torch.equal(again.distilled.images, whole.distilled.images)
        assert torch.equal(again.distilled.labels, whole.distilled.labels)


def test_a_loss_that_is_not_finite_is_told():
    """A broken set gives it back instead of failing."""
    backbone = backbone_of(spec_of(init="noise"))
    state = backbone.initial_state()
    state["bases"].fill_(math.inf)
    assert not math.isfinite(backbone.step(state, 0, lr_scale=1.0))


def test_equal_seeds_give_equal_bytes():
    """The same seed gives the same set and leaves the global generator alone."""
    before = torch.get_rng_state()
    spec = spec_of(init="noise", iterations=1)
    first, again, other = (
        distill(backbone_of(spec, seed=seed), n_steps=1).distilled.images for seed in (1, 1, 2)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert torch.equal(torch.get_rng_state(), before)
