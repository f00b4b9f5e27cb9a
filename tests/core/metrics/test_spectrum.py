import math

import numpy as np
import pytest
import torch

from ddcal_core.metrics.spectrum import (
    QUANTILES,
    centred,
    distribution,
    image_spectrum,
    largest_logits,
    logit_margins,
)
from ddcal_core.seeding import seeded_generator


def some_images(n, *shape):
    """Random float32 images away from 0."""
    return torch.randn((n, *shape), generator=seeded_generator(0)) + 0.5


@pytest.mark.parametrize("n", [1, 5, 20, 40])
def test_singular_values_are_the_roots_of_the_gram_matrix(n):
    """By the eigenvalues of X X^T in numpy; energy and entropy by their formulas."""
    images = some_images(n, 2, 3, 4)
    found = image_spectrum(images)
    x = images.double().flatten(1).numpy()
    eigenvalues = np.clip(np.sort(np.linalg.eigvalsh(x @ x.T))[::-1][: min(n, 24)], 0, None)
    np.testing.assert_allclose(np.square(found.singular_values), eigenvalues, rtol=1e-9, atol=1e-9)
    share = eigenvalues / eigenvalues.sum()
    np.testing.assert_allclose(found.cumulative_energy, np.cumsum(share), rtol=1e-9)
    entropy = -sum(p * math.log(p) for p in share if p > 0)
    assert found.effective_rank == pytest.approx(math.exp(entropy), rel=1e-9)
    values = found.singular_values
    shares = [value / sum(values) for value in values]
    entropy = -sum(share * math.log(share) for share in shares if share > 0)
    assert found.effective_rank_of_values == pytest.approx(math.exp(entropy), rel=1e-9)


@pytest.mark.parametrize("n", [1, 3, 9])
def test_equal_directions_have_the_rank_they_count(n):
    """Orthogonal images of one length: rank n, each an n-th of the energy."""
    found = image_spectrum(torch.eye(9)[:n].view(n, 1, 3, 3) * 7)
    assert found.effective_rank == pytest.approx(n)
    assert found.effective_rank_of_values == pytest.approx(n)
    assert found.cumulative_energy == pytest.approx([(k + 1) / n for k in range(n)])


def test_scale_does_not_matter_to_rank_and_energy():
    """Brighter images have larger singular values and the same shape of spectrum."""
    images = some_images(6, 1, 4, 4)
    one, other = image_spectrum(images), image_spectrum(images * 1e6)
    assert other.effective_rank == pytest.approx(one.effective_rank)
    assert other.singular_values[0] == pytest.approx(one.singular_values[0] * 1e6)


def test_centring_removes_what_all_images_share():
    """An offset common to all images is gone, bit by bit of the mean image."""
    images = some_images(8, 1, 4, 4)
    offset = some_images(1, 1, 4, 4) * 100
    plain, moved = image_spectrum(centred(images)), image_spectrum(centred(images + offset))
    assert moved.singular_values == pytest.approx(plain.singular_values, abs=1e-3)
    assert image_spectrum(images + offset).effective_rank < 1.1
    assert plain.singular_values[-1] == pytest.approx(0, abs=1e-9)


def test_nothing_to_see_is_rank_zero():
    """One image about itself, or black ones: no energy, no rank, no division by zero."""
    for images in (centred(some_images(1, 1, 2, 2)), torch.zeros(3, 1, 2, 2)):
        found = image_spectrum(images)
        assert found.effective_rank == 0
        assert found.effective_rank_of_values == 0
        assert set(found.singular_values) == set(found.cumulative_energy) == {0.0}


@pytest.mark.parametrize("images", [torch.zeros(0, 1, 2, 2), torch.full((2, 1, 2, 2), math.nan)])
def test_no_images_or_no_numbers_are_refused(images):
    """Empty sets and NaN pixels raise in words."""
    with pytest.raises(ValueError, match="at least one image of finite pixels"):
        image_spectrum(images)


def test_logits_are_told_row_by_row():
    """Largest entry and its lead over the second, by sorting; ties lead by nothing."""
    logits = torch.randn((50, 4), generator=seeded_generator(1)) * 5
    logits[0] = torch.tensor([2.0, 7.0, 7.0, 1.0])
    rows = [sorted(row) for row in logits.double().tolist()]
    assert largest_logits(logits).tolist() == [row[-1] for row in rows]
    assert logit_margins(logits).tolist() == pytest.approx([row[-1] - row[-2] for row in rows])
    assert float(logit_margins(logits)[0]) == 0
    with pytest.raises(ValueError, match="at least two classes"):
        logit_margins(logits[:, :1])


def test_a_distribution_is_numpys():
    """Mean, deviation, quantiles and histogram as numpy gives them."""
    values = torch.randn(1000, generator=seeded_generator(2)).double() * 3 + 10
    edges = torch.linspace(float(values.min()), float(values.max()), 13, dtype=torch.float64)
    found, x = distribution(values, edges), values.numpy()
    assert found.mean == pytest.approx(x.mean())
    assert found.deviation == pytest.approx(x.std(ddof=1))
    assert found.coefficient_of_variation == pytest.approx(x.std(ddof=1) / x.mean())
    assert found.quantiles == pytest.approx(np.quantile(x, QUANTILES))
    assert list(found.counts) == np.histogram(x, edges.numpy())[0].tolist()


def test_values_beyond_the_edges_are_counted_at_the_ends():
    """Nothing is lost, so that shares of all networks add up to one."""
    found = distribution(torch.tensor([-5.0, 0.0, 0.5, 1.0, 9.0]), torch.tensor([0.0, 0.5, 1.0]))
    assert found.counts == (2, 3)


def test_a_variation_needs_a_mean_above_zero():
    """A negative or zero mean has no coefficient; one value has no deviation."""
    edges = torch.tensor([-9.0, 9.0])
    assert distribution(torch.tensor([-1.0, 1.0]), edges).coefficient_of_variation is None
    assert distribution(torch.tensor([4.0]), edges).deviation == 0
    with pytest.raises(ValueError, match="finite number"):
        distribution(torch.tensor([math.nan]), edges)
