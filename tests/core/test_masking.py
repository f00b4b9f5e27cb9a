import itertools

import pytest
import torch

from ddcal_core.masking import draw_mask
from ddcal_core.seeding import seeded_generator
from ddcal_core.specs import MaskSpec


def images_of(*shape, dtype=torch.float32):
    """Random images of a shape."""
    return torch.randn(shape, generator=seeded_generator(1, "images"), dtype=torch.float64).to(
        dtype
    )


def mask_of(ratio, images, draw=0):
    """The mask of one draw."""
    return draw_mask(MaskSpec(ratio=ratio), images, seeded_generator(0, "mask", draw))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16])
@pytest.mark.parametrize("shape", [(3, 1, 8, 8), (2, 3, 5, 7), (0, 3, 4, 4), (1, 1, 1, 1)])
def test_mask_fits_its_images(shape, dtype):
    """One channel, the images' other dimensions and dtype, nothing but 0 and 1."""
    mask = mask_of(0.5, images_of(*shape, dtype=dtype))
    assert mask.shape == (shape[0], 1, *shape[2:])
    assert mask.dtype == dtype
    assert ((mask == 0) | (mask == 1)).all()


@pytest.mark.parametrize("ratio", [0.01, 0.1, 0.3, 0.5, 0.9, 0.99])
def test_share_of_masked_pixels_is_the_ratio(ratio):
    """The share of zeros is within five standard deviations of the ratio."""
    mask = mask_of(ratio, torch.zeros(200, 1, 16, 16))
    deviation = (ratio * (1 - ratio) / mask.numel()) ** 0.5
    assert abs(float((mask == 0).double().mean()) - ratio) < 5 * deviation


def test_ratio_zero_changes_no_bit():
    """At ratio 0 the mask is all ones and masking keeps every bit, of -0.0 and NaN too."""
    images = images_of(4, 3, 8, 8)
    images[0, 0, 0, :3] = torch.tensor([-0.0, float("nan"), float("inf")])
    masked = images * mask_of(0.0, images)
    assert torch.equal(masked.view(torch.int32), images.view(torch.int32))


def test_images_are_masked_on_their_own():
    """No two images of a batch share a mask, and two draws differ."""
    images = torch.zeros(20, 1, 8, 8)
    masks = torch.cat([mask_of(0.5, images), mask_of(0.5, images, draw=1)])
    assert len(masks.flatten(1).unique(dim=0)) == 40


def test_pixels_are_masked_on_their_own():
    """Neighbouring pixels' masks are uncorrelated."""
    mask = mask_of(0.3, torch.zeros(500, 1, 8, 8)).flatten(1)
    correlation = torch.corrcoef(mask.t()) - torch.eye(64)
    assert correlation.abs().max() < 5.5 / 500**0.5


def test_greater_ratios_mask_the_same_and_more():
    """On equal generators what a smaller ratio masks a greater one masks as well."""
    images = torch.zeros(10, 1, 8, 8)
    masks = [mask_of(ratio, images) for ratio in (0.1, 0.3, 0.7, 0.9)]
    assert all((more <= less).all() for less, more in itertools.pairwise(masks))


def test_masks_do_not_depend_on_batches():
    """Drawing batch by batch from one generator gives the masks of one draw."""
    images, generator = torch.zeros(10, 1, 5, 5), seeded_generator(0, "mask", 0)
    parts = [draw_mask(MaskSpec(ratio=0.5), images[i : i + 3], generator) for i in (0, 3, 6, 9)]
    assert torch.equal(torch.cat(parts), mask_of(0.5, images))


def test_masked_pixels_get_no_gradient():
    """The gradient is exactly 0 under the mask and passes unscaled elsewhere, in all channels."""
    images = images_of(4, 3, 8, 8).requires_grad_()
    mask = mask_of(0.5, images)
    (images * mask).sin().sum().backward()
    kept = mask.expand_as(images) == 1
    assert (images.grad[~kept] == 0).all()
    assert torch.equal(images.grad[kept], images.detach().cos()[kept])
    assert 0 < int(kept.sum()) < kept.numel()


@pytest.mark.parametrize(
    "images", [torch.zeros(3, 8, 8), torch.zeros(2, 1, 8, 8, dtype=torch.uint8)]
)
def test_refuses_what_is_no_batch_of_float_images(images):
    """Wrong rank or integer pixels are refused with what was got."""
    with pytest.raises(ValueError, match=r"floating-point images \(N, C, H, W\), got torch\."):
        mask_of(0.5, images)
