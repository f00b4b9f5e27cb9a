import numpy as np
import pytest
import torch

from ddcal_core.seeding import seeded_generator
from ddcal_core.training.probing import RIDGES, linear_probe, n_ways, probe_task

ALL = ("rotation", "position", "brightness", "colour")


def pixels_of(n=24, height=8, width=8, n_channels=3):
    """Random pixels in [0, 1]."""
    return torch.rand((n, n_channels, height, width), generator=seeded_generator(0, n, height))


def task_of(probe, pixels):
    """A task with a ground of its own in each channel."""
    ground = (0.25, 0.5, 0.75)[: pixels.shape[1]]
    return probe_task(probe, pixels, ground, seeded_generator(1, probe))


@pytest.mark.parametrize("probe", ALL)
def test_ways_are_balanced_and_drawn(probe):
    """Each as often as any other, within one, in an order of their own, the same again."""
    pixels = pixels_of(26)
    task, again = task_of(probe, pixels), task_of(probe, pixels)
    counts = task.targets.bincount(minlength=task.n_ways).tolist()
    assert max(counts) - min(counts) <= 1
    assert task.n_ways == n_ways(probe, (3, 8, 8)) == len(counts)
    assert torch.equal(task.pixels, again.pixels)
    assert task.targets.tolist() != sorted(task.targets.tolist())
    assert (task.pixels.shape, task.pixels.dtype) == (pixels.shape, torch.float32)
    assert 0 <= float(task.pixels.min()) <= float(task.pixels.max()) <= 1


def test_rotation_is_by_quarters():
    """Counter-clockwise, by numpy; where the sides differ by halves alone."""
    pixels = pixels_of()
    task = task_of("rotation", pixels)
    for image, way, changed in zip(pixels, task.targets.tolist(), task.pixels, strict=True):
        wanted = np.rot90(image.numpy(), way, (1, 2))
        assert np.array_equal(changed.numpy(), wanted)
    wide = pixels_of(height=4)
    task = task_of("rotation", wide)
    assert task.n_ways == 2
    for image, way, changed in zip(wide, task.targets.tolist(), task.pixels, strict=True):
        assert torch.equal(changed, image.flip(1, 2) if way else image)


@pytest.mark.parametrize(("height", "width"), [(8, 8), (6, 10)])
def test_position_is_a_quarter_of_the_image(height, width):
    """The mean of each square of four in one corner, the ground of its channel elsewhere."""
    pixels = pixels_of(height=height, width=width)
    task = task_of("position", pixels)
    for image, way, changed in zip(pixels, task.targets.tolist(), task.pixels, strict=True):
        wanted = torch.tensor([0.25, 0.5, 0.75]).view(3, 1, 1).expand(3, height, width).clone()
        top, left = (way // 2) * (height // 2), (way % 2) * (width // 2)
        for i in range(height // 2):
            for j in range(width // 2):
                square = image[:, 2 * i : 2 * i + 2, 2 * j : 2 * j + 2]
                wanted[:, top + i, left + j] = square.mean((1, 2))
        torch.testing.assert_close(changed, wanted)


def test_brightness_and_colour_are_gains():
    """0.4 to 1 of all channels; 0.6 of two of them."""
    pixels = pixels_of()
    task = task_of("brightness", pixels)
    for image, way, changed in zip(pixels, task.targets.tolist(), task.pixels, strict=True):
        torch.testing.assert_close(changed, image * (0.4, 0.6, 0.8, 1.0)[way])
    task = task_of("colour", pixels)
    for image, way, changed in zip(pixels, task.targets.tolist(), task.pixels, strict=True):
        gains = [1.0 if channel == way else 0.6 for channel in range(3)]
        torch.testing.assert_close(changed, image * torch.tensor(gains).view(3, 1, 1))
    with pytest.raises(ValueError, match="wanted images of 3 channels, got 1"):
        task_of("colour", pixels_of(n_channels=1))


def slow_probe(features, targets):
    """Ridge on one-hot targets of -1 and 1, each penalty tried by refitting without each row."""
    x, y = features[::2], np.eye(targets.max() + 1)[targets[::2]] * 2 - 1
    mean, deviation = x.mean(0), x.std(0, ddof=1)
    x, asked = (x - mean) / deviation, (features[1::2] - mean) / deviation

    def fitted(rows, aims, penalty):
        shift, offset = rows.mean(0), aims.mean(0)
        centred = rows - shift
        gram = centred.T @ centred + penalty * np.eye(rows.shape[1])
        weights = np.linalg.solve(gram, centred.T @ (aims - offset))
        return lambda some: (some - shift) @ weights + offset

    def left_out_error(penalty):
        errors = []
        for k in range(len(x)):
            others = np.arange(len(x)) != k
            told = fitted(x[others], y[others], penalty)(x[k : k + 1])
            errors.append(((told - y[k]) ** 2).mean())
        return np.mean(errors)

    best = min(RIDGES, key=left_out_error)
    return (fitted(x, y, best)(asked).argmax(1) == targets[1::2]).mean()


@pytest.mark.parametrize("signal", [0.0, 0.5, 1.0, 4.0])
def test_a_probe_is_ridge_regression_with_a_penalty_found(signal):
    """Against leaving out each row by hand, from nothing to read to everything."""
    generator = seeded_generator(2)
    targets = torch.randint(3, (80,), generator=generator)
    features = torch.randn((80, 6), generator=generator, dtype=torch.float64)
    features[:, :3] += signal * torch.eye(3, dtype=torch.float64)[targets]
    got = linear_probe(features, targets)
    assert got == pytest.approx(slow_probe(features.numpy(), targets.numpy()))
    assert got > 0.8 if signal == 4 else got < 0.8


def test_what_no_feature_has_is_at_chance():
    """More features than rows are no more than chance, and a feature that never moves is none."""
    generator = seeded_generator(5)
    targets = torch.randint(4, (1_000,), generator=generator)
    features = torch.randn((1_000, 700), generator=generator)
    features[:, 0] = 7.0
    assert linear_probe(features, targets) == pytest.approx(0.25, abs=0.08)
