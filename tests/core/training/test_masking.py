import itertools

import pytest
import torch
from pydantic import ValidationError

from ddcal_core.seeding import seeded_generator
from ddcal_core.specs.masks import MaskSpec
from ddcal_core.training.masking import MaskedImages, draw_mask, mask_images


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


OPTIONS = [
    {"unit": unit, "patch_size": size, "channels": channels, "scope": scope, "fill": fill}
    for unit, size in (("pixel", None), ("patch", 1), ("patch", 3))
    for channels in ("shared", "independent")
    for scope in ("per_sample", "shared")
    for fill in ("zero", "noise")
]


def test_the_default_is_one_draw_a_pixel():
    """By default a mask is the comparison of N * H * W uniform numbers with the ratio."""
    images = images_of(5, 3, 8, 6)
    uniform = torch.rand((5, 1, 8, 6), generator=seeded_generator(0, "mask", 0))
    masked = mask_images(MaskSpec(ratio=0.4), images, seeded_generator(0, "mask", 0))
    assert torch.equal(mask_of(0.4, images), (uniform >= 0.4).float())
    assert torch.equal(masked.view(torch.int32), (images * (uniform >= 0.4)).view(torch.int32))


@pytest.mark.parametrize("options", OPTIONS)
def test_ratio_zero_changes_no_bit_under_any_option(options):
    """Whatever is masked together and with what, masking nothing keeps every bit."""
    images = images_of(4, 3, 8, 8)
    images[0, 0, 0, :3] = torch.tensor([-0.0, float("nan"), float("inf")])
    masked = mask_images(MaskSpec(ratio=0, **options), images, seeded_generator(0))
    assert torch.equal(masked.view(torch.int32), images.view(torch.int32))


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("ratio", [0.1, 0.5, 0.9])
def test_share_of_masked_pixels_is_the_ratio_under_any_option(ratio, options):
    """Over many draws the share is within five deviations of the independent units drawn."""
    images, spec = torch.zeros(10, 3, 9, 9), MaskSpec(ratio=ratio, **options)
    masks = [draw_mask(spec, images, seeded_generator(0, draw)) for draw in range(40)]
    share = float((torch.stack(masks) == 0).double().mean())
    n_units = 40 * (9 if spec.patch_size == 3 else 81)
    n_units *= 3 if spec.channels == "independent" else 1
    n_units *= 10 if spec.scope == "per_sample" else 1
    assert abs(share - ratio) < 5 * (ratio * (1 - ratio) / n_units) ** 0.5


def test_a_patch_is_masked_as_one_and_apart_from_others():
    """Cells of 3 x 3 from the top left are constant, their draws uncorrelated, edges cut off."""
    spec = MaskSpec(ratio=0.4, unit="patch", patch_size=3)
    masks = draw_mask(spec, torch.zeros(600, 1, 7, 8), seeded_generator(0))[:, 0]
    cells = masks[:, ::3, ::3]
    for row in range(7):
        for column in range(8):
            assert torch.equal(masks[:, row, column], cells[:, row // 3, column // 3])
    correlation = torch.corrcoef(cells.flatten(1).t()) - torch.eye(9)
    assert correlation.abs().max() < 5 / 600**0.5


def test_independent_channels_have_masks_of_their_own():
    """Each channel of an image is masked elsewhere, uncorrelated with the others."""
    spec = MaskSpec(ratio=0.5, channels="independent")
    mask = draw_mask(spec, torch.zeros(50, 3, 8, 8), seeded_generator(0))
    assert mask.shape == (50, 3, 8, 8)
    correlation = torch.corrcoef(mask.transpose(0, 1).flatten(1)) - torch.eye(3)
    assert correlation.abs().max() < 5 / (50 * 64) ** 0.5


def test_a_shared_mask_is_that_of_every_image():
    """One mask for all images of a draw; another draw has another."""
    images = torch.zeros(6, 1, 8, 8)
    spec = MaskSpec(ratio=0.5, scope="shared")
    first, second = (draw_mask(spec, images, seeded_generator(draw)) for draw in (0, 1))
    assert first.shape == (6, 1, 8, 8)
    assert torch.equal(first, first[:1].expand_as(first))
    assert not torch.equal(first, second)
    assert draw_mask(spec, images[:0], seeded_generator(0)).shape == (0, 1, 8, 8)


def test_noise_fills_what_is_masked_and_nothing_else():
    """Masked pixels are N(0, 1), a channel each, with no gradient; kept ones are untouched."""
    images = (images_of(40, 3, 16, 16) * 7 + 50).requires_grad_()
    spec = MaskSpec(ratio=0.5, fill="noise")
    masked = mask_images(spec, images, seeded_generator(0))
    is_kept = draw_mask(spec, images, seeded_generator(0)).bool().expand_as(images)
    assert torch.equal(masked[is_kept], images[is_kept])
    noise = masked.detach()[~is_kept].double()
    n = len(noise)
    assert abs(float(noise.mean())) < 5 / n**0.5
    assert abs(float(noise.var()) - 1) < 5 * (2 / n) ** 0.5
    by_channel = masked.detach()[~is_kept[:, :1].expand_as(images)].view(-1, 3)
    correlation = torch.corrcoef(by_channel.t()) - torch.eye(3)
    assert correlation.abs().max() < 5 / len(by_channel) ** 0.5
    masked.sum().backward()
    assert torch.equal(images.grad, is_kept.float())


@pytest.mark.parametrize("fill", ["zero", "noise"])
@pytest.mark.parametrize("scope", ["per_sample", "shared"])
def test_a_batch_at_a_time_is_masked_as_all_images_at_once(fill, scope):
    """To the bit, and of the images themselves no more is asked for than the batch."""
    images, spec = images_of(30, 3, 8, 8), MaskSpec(ratio=0.4, fill=fill, scope=scope)

    class Asked:
        shape, dtype, device = images.shape, images.dtype, images.device
        most = 0

        def __len__(self):
            return len(images)

        def __getitem__(self, index):
            self.most = max(self.most, len(images[index]))
            return images[index]

    asked = Asked()
    masked = MaskedImages(spec, asked, seeded_generator(0, "mask"))
    whole = mask_images(spec, images, seeded_generator(0, "mask"))
    got = torch.cat([masked[start : start + 7] for start in range(0, 30, 7)])
    assert torch.equal(got, whole)
    assert torch.equal(masked[torch.tensor([4, 29, 4])], whole[[4, 29, 4]])
    assert (len(masked), masked.shape, asked.most) == (30, whole.shape, 7)


@pytest.mark.parametrize("size", [9, 12])
def test_patches_larger_than_the_image_are_refused(size):
    """A patch has to fit into both sides of the image; one that just fits is taken."""
    spec = MaskSpec(ratio=0.5, unit="patch", patch_size=size)
    with pytest.raises(ValueError, match=f"no larger than the images of 8 x 12.*got {size}"):
        draw_mask(spec, torch.zeros(1, 1, 8, 12), seeded_generator(0))
    assert draw_mask(spec, torch.zeros(1, 1, size, size), seeded_generator(0)).unique().numel() == 1


@pytest.mark.parametrize(
    "options", [{"unit": "patch"}, {"unit": "pixel", "patch_size": 4}, {"patch_size": 4}]
)
def test_a_patch_size_without_patches_is_refused(options):
    """Unit and patch_size have to be given together."""
    with pytest.raises(ValidationError, match="patch_size goes with unit patch"):
        MaskSpec(ratio=0.5, **options)
