"""Attributions against captum, sparsity and areas against formulas by hand."""

import numpy as np
import pytest
import torch
from torch import nn

from ddcal_core.networks import build_network
from ddcal_core.seeding import seeded_generator
from ddcal_core.specs.facts import DatasetFacts
from ddcal_core.specs.networks import NetworkSpec
from ddcal_core.training.attribution import (
    N_SHARES,
    areas_by_removal,
    concentration,
    integrated_gradients,
)

FACTS = DatasetFacts(
    image_shape=(2, 8, 8),
    class_names=("a", "b", "c"),
    train_class_counts=(5, 5, 5),
    test_class_counts=(5, 5, 5),
    mean=(0.5, 0.5),
    std=(0.25, 0.25),
)


@pytest.fixture(scope="module")
def network():
    """A small network with its first parameters."""
    spec = NetworkSpec(network="convnet", width=8, depth=2)
    return build_network(spec, FACTS, seeded_generator(0, "network")).eval()


@pytest.fixture(scope="module")
def images():
    """Standardised noise."""
    return torch.randn((6, 2, 8, 8), generator=seeded_generator(0, "images"))


def test_integrated_gradients_are_captum_s(network, images):
    """By the same quadrature, of every image and channel."""
    captum = pytest.importorskip("captum.attr")
    classes = torch.tensor([0, 1, 2, 0, 1, 2])
    wanted = captum.IntegratedGradients(network).attribute(images, target=classes, n_steps=32)
    found = integrated_gradients(network, images, classes)
    assert found.requires_grad is False
    torch.testing.assert_close(found, wanted.float(), rtol=1e-4, atol=1e-6)


def test_attributions_add_up_to_the_logit(images):
    """Completeness: exact of a function that the quadrature integrates exactly."""

    class Cubic(nn.Module):
        def forward(self, x):
            flat = x.flatten(1).double()
            return torch.stack([flat.sum(1), (flat**3).sum(1) + 1, flat.prod(1)], 1)

    network, classes = Cubic(), torch.tensor([1] * 6)
    found = integrated_gradients(network, images, classes, n_nodes=2)
    logits = network(images)[:, 1] - network(torch.zeros_like(images))[:, 1]
    torch.testing.assert_close(found.flatten(1).sum(1).double(), logits, rtol=1e-5, atol=1e-5)


def test_concentration_is_the_gini_coefficient():
    """By its definition: the mean of all differences over twice the mean."""
    rng = np.random.default_rng(0)
    saliency = rng.normal(size=(4, 3, 5))
    for one, found in zip(saliency, concentration(torch.tensor(saliency)).tolist(), strict=True):
        flat = np.abs(one).ravel()
        wanted = np.abs(flat[:, None] - flat[None, :]).mean() / (2 * flat.mean())
        assert found == pytest.approx(wanted)


def test_concentration_goes_from_all_to_one():
    """The same everywhere, one pixel alone, and nothing at all."""
    alike, single, nothing = torch.ones(1, 4, 5), torch.zeros(1, 4, 5), torch.zeros(1, 4, 5)
    single[0, 2, 3] = -7
    found = concentration(torch.cat([alike, single, nothing]))
    assert found.tolist() == pytest.approx([0, 1 - 1 / 20, 0])


class ByOnePixel(nn.Module):
    """Sure of class 1 by so much as the pixel (0, 0) says, whatever the others are."""

    def forward(self, x):
        """Logits (N, 2)."""
        sure = x[:, 0, 0, 0] * 50
        return torch.stack([-sure, sure], 1)


def test_the_pixel_that_decides_is_seen_by_removal():
    """Taken first all is lost at once; put in first it is all there at once; last the reverse."""
    images, classes = torch.ones(1, 1, 8, 8), torch.tensor([1])
    first = torch.zeros(1, 8, 8)
    first[0, 0, 0] = 1
    step = 1 / N_SHARES
    # Without the pixel both classes are as likely; half of a step lies between the two states.
    with_it, without = 1.0, 0.5
    edge = step * (with_it + without) / 2
    deletion, insertion = areas_by_removal(ByOnePixel(), images, first, classes)
    assert float(deletion) == pytest.approx(edge + without * (1 - step))
    assert float(insertion) == pytest.approx(edge + with_it * (1 - step))
    deletion, insertion = areas_by_removal(ByOnePixel(), images, -first, classes)
    assert float(deletion) == pytest.approx(edge + with_it * (1 - step))
    assert float(insertion) == pytest.approx(edge + without * (1 - step))
