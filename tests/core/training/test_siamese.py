import math

import pytest
import torch

from ddcal_core.seeding import seeded_generator
from ddcal_core.training.augmentation import (
    DrawnAugmentation,
    augment,
    augment_each,
    draw_augmentation,
)

NAMES = ("color", "crop", "cutout", "flip", "scale", "rotate")


def images_of(n_images=3, n_channels=2, height=8, width=8):
    """Standard normal images, float64."""
    generator = seeded_generator(0, n_images, n_channels, height, width)
    return torch.randn(
        (n_images, n_channels, height, width), generator=generator, dtype=torch.float64
    )


def drawn(name, *numbers):
    """A change with given numbers, a row per image."""
    rows = [[*row, *(0.0,) * (3 - len(row))] for row in numbers]
    return DrawnAugmentation(name, torch.tensor(rows))


def test_color_is_brightness_then_saturation_then_contrast():
    """Pixel by pixel from the formulas, with numbers for each image."""
    images = images_of(n_channels=3)
    u = [[0.25, 0.75, 0.5], [0.5, 0.5, 0.0], [0.875, 0.0, 0.25]]
    got = augment(images, drawn("color", *u))
    for image, (brightness, saturation, contrast), changed in zip(images, u, got, strict=True):
        wanted = image + (brightness - 0.5)
        for i in range(8):
            for j in range(8):
                mean = sum(wanted[:, i, j]) / 3
                wanted[:, i, j] = (wanted[:, i, j] - mean) * 2 * saturation + mean
        mean = wanted.sum() / wanted.numel()
        wanted = (wanted - mean) * (contrast + 0.5) + mean
        torch.testing.assert_close(changed, wanted)


def test_color_in_the_middle_changes_nothing():
    """All u at 1/2 is the identity."""
    images = images_of()
    torch.testing.assert_close(augment(images, drawn("color", [0.5, 0.5, 0.5])), images)


@pytest.mark.parametrize("side", [8, 28, 32])
def test_crop_moves_by_whole_pixels(side):
    """Every shift from -s to s along each axis, s = an eighth of the side; what comes in is 0."""
    images = images_of(height=side, width=side)
    most = {8: 1, 28: 4, 32: 4}[side]
    n_shifts = 2 * most + 1
    for k in range(n_shifts):
        down, right = k - most, most - k
        numbers = [(k + 0.5) / n_shifts, (n_shifts - k - 0.5) / n_shifts]
        wanted = torch.zeros_like(images)
        for i in range(side):
            for j in range(side):
                if 0 <= i + down < side and 0 <= j + right < side:
                    wanted[:, :, i, j] = images[:, :, i + down, j + right]
        assert torch.equal(augment(images, drawn("crop", numbers)), wanted)
        assert torch.equal(augment(images, drawn("crop", *[numbers] * 3)), wanted)


def test_crop_of_each_image_is_its_own():
    """Numbers for each image give what each would become alone; height and width may differ."""
    images = images_of(height=16, width=24)
    rows = [[0.0, 0.99], [0.5, 0.5], [0.7, 0.1]]
    alone = [augment(images[k : k + 1], drawn("crop", row)) for k, row in enumerate(rows)]
    assert torch.equal(augment(images, drawn("crop", *rows)), torch.cat(alone))
    assert torch.equal(alone[1], images[1:2])


@pytest.mark.parametrize(("side", "hole"), [(8, 4), (9, 5), (28, 14), (32, 16)])
def test_cutout_is_a_square_of_zeros(side, hole):
    """Half the side, around a centre anywhere, clipped at the edge; the rest is untouched."""
    images = images_of(height=side, width=side)
    n_centres = side + 1 if hole % 2 == 0 else side
    for top, left in ((0, n_centres - 1), (side // 2, 1), (n_centres - 1, side // 2)):
        numbers = [(top + 0.5) / n_centres, (left + 0.5) / n_centres]
        wanted = images.clone()
        rows = slice(max(0, top - hole // 2), max(0, top - hole // 2 + hole))
        columns = slice(max(0, left - hole // 2), max(0, left - hole // 2 + hole))
        wanted[:, :, rows, columns] = 0
        got = augment(images, drawn("cutout", numbers))
        assert torch.equal(got, wanted)
        assert (got == 0).any()


def test_flip_is_for_one_image_in_two():
    """Below 1/2 left and right change places, from 1/2 on nothing does."""
    images = images_of()
    got = augment(images, drawn("flip", [0.49], [0.5], [0.0]))
    assert torch.equal(got[0], images[0].flip(2))
    assert torch.equal(got[1], images[1])
    assert torch.equal(got[2], images[2].flip(2))


def sampled(image, theta, *, align_corners):
    """One image under an affine map of coordinates in [-1, 1], bilinear by hand, 0 outside."""
    _, height, width = image.shape
    changed = torch.zeros_like(image)

    def coordinate(index, side):
        if align_corners:
            return 2 * index / (side - 1) - 1
        return (2 * index + 1) / side - 1

    def position(value, side):
        if align_corners:
            return (value + 1) * (side - 1) / 2
        return ((value + 1) * side - 1) / 2

    for i in range(height):
        for j in range(width):
            x, y = coordinate(j, width), coordinate(i, height)
            at_x = position(theta[0][0] * x + theta[0][1] * y, width)
            at_y = position(theta[1][0] * x + theta[1][1] * y, height)
            for row in (math.floor(at_y), math.floor(at_y) + 1):
                for column in (math.floor(at_x), math.floor(at_x) + 1):
                    if 0 <= row < height and 0 <= column < width:
                        weight = (1 - abs(at_y - row)) * (1 - abs(at_x - column))
                        changed[:, i, j] += weight * image[:, row, column]
    return changed


@pytest.mark.parametrize("align_corners", [False, True])
def test_scale_and_rotate_sample_between_pixels(align_corners):
    """Bilinear by hand at the corners of their ranges and inside; each image its own."""
    images = images_of()
    scales = [[0.0, 1.0], [0.3, 0.6], [0.9, 0.1]]
    got = augment(images, drawn("scale", *scales), align_corners=align_corners)
    for k, (u, v) in enumerate(scales):
        width, height = (w * (1.2 - 1 / 1.2) + 1 / 1.2 for w in (u, v))
        wanted = sampled(images[k], [[width, 0], [0, height]], align_corners=align_corners)
        torch.testing.assert_close(got[k], wanted, rtol=1e-6, atol=1e-6)
    turns = [[0.0], [0.5], [0.8]]
    got = augment(images, drawn("rotate", *turns), align_corners=align_corners)
    for k, (u,) in enumerate(turns):
        angle = math.radians(-15 + 30 * u)
        theta = [[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]]
        wanted = sampled(images[k], theta, align_corners=align_corners)
        torch.testing.assert_close(got[k], wanted, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(got[1], images[1])


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("n_numbers", [1, 2])
def test_gradients_are_those_of_differences(name, n_numbers):
    """Gradcheck in float64, for all alike and for each."""
    images = images_of(n_images=2, height=5, width=5).requires_grad_()
    numbers = torch.rand((n_numbers, 3), generator=seeded_generator(4))
    change = DrawnAugmentation(name, numbers)
    assert torch.autograd.gradcheck(lambda x: augment(x, change), images)


@pytest.mark.parametrize("name", NAMES)
def test_one_drawing_changes_any_batch_alike(name):
    """Siamese: an image becomes the same among three as among one; its own numbers differ."""
    images = images_of().float()
    change = draw_augmentation((name,), seeded_generator(1))
    together = augment(images, change)
    for k in range(3):
        torch.testing.assert_close(together[k : k + 1], augment(images[k : k + 1], change))
    assert together.dtype == images.dtype
    repeated = images[:1].expand(64, -1, -1, -1)
    each = augment_each(repeated, (name,), seeded_generator(1))
    assert len(each.flatten(1).unique(dim=0)) > 1
    assert len(augment(repeated, change).flatten(1).unique(dim=0)) == 1


def test_each_change_is_drawn_as_often():
    """3,000 draws: each of six within five standard errors of a sixth; numbers uniform."""
    generator = seeded_generator(2)
    draws = [draw_augmentation(NAMES, generator) for _ in range(3000)]
    deviation = (3000 * 1 / 6 * 5 / 6) ** 0.5
    for name in NAMES:
        assert abs(sum(one.name == name for one in draws) - 500) < 5 * deviation
    numbers = torch.cat([one.numbers for one in draws])
    assert abs(float(numbers.mean()) - 0.5) < 5 * (1 / 12 / 9000) ** 0.5


def test_no_names_change_nothing():
    """The very same images, and nothing drawn."""
    images, generator = images_of(), seeded_generator(3)
    before = generator.get_state()
    assert augment_each(images, (), generator) is images
    assert torch.equal(generator.get_state(), before)
