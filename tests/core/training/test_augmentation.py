import pytest
import torch

from ddcal_core.seeding import seeded_generator
from ddcal_core.training.augmentation import mix_images


def test_each_image_is_blended_with_its_partner():
    """Image by image: the batch's share of itself, the rest of its partner."""
    images = torch.randn((7, 2, 3, 3), generator=seeded_generator(0))
    mixed = mix_images(images, 0.5, seeded_generator(1))
    assert sorted(mixed.partner.tolist()) == list(range(7))
    for k, partner in enumerate(mixed.partner.tolist()):
        wanted = mixed.share * images[k] + (1 - mixed.share) * images[partner]
        torch.testing.assert_close(mixed.images[k], wanted)


@pytest.mark.parametrize("alpha", [0.2, 1.0, 4.0])
def test_shares_are_beta_distributed(alpha):
    """Mean 1/2 and variance 1 / (4 (2 alpha + 1)) over many batches."""
    images, generator = torch.zeros(1, 1, 1, 1), seeded_generator(2)
    shares = torch.tensor(
        [mix_images(images, alpha, generator).share for _ in range(3000)], dtype=torch.float64
    )
    variance = 1 / (4 * (2 * alpha + 1))
    assert float(shares.mean()) == pytest.approx(0.5, abs=5 * (variance / 3000) ** 0.5)
    assert float(shares.var()) == pytest.approx(variance, rel=0.15)
    assert 0 <= float(shares.min()) <= float(shares.max()) <= 1


def test_equal_generators_mix_alike():
    """The draw depends on the generator alone, not on any global one."""
    images = torch.randn((9, 1, 2, 2), generator=seeded_generator(0))
    first, again = (mix_images(images, 0.3, seeded_generator(5)) for _ in range(2))
    assert first.share == again.share
    assert torch.equal(first.images, again.images)
    assert mix_images(images, 0.3, seeded_generator(6)).share != first.share
