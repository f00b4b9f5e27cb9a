"""Images kept as pixels beside the whole set as floats."""

import numpy as np
import pytest
import torch

from ddcal_core.data.input_space import Standard, enter, fit_space
from ddcal_core.data.network_images import PixelImages, by_batch, network_images, pick
from ddcal_core.errors import InvalidDataError
from ddcal_core.specs.facts import DatasetFacts
from ddcal_core.specs.spaces import PerImageZcaSpace, StandardSpace, ZcaSpace

CPU = torch.device("cpu")
SHAPE = (3, 5, 7)
FACTS = DatasetFacts(
    image_shape=SHAPE,
    class_names=("a", "b"),
    train_class_counts=(1, 1),
    test_class_counts=(1, 1),
    mean=(0.4914, 0.4822, 0.4465),
    std=(0.2023, 0.1994, 0.2010),
)
SPECS = (
    StandardSpace(name="standard"),
    ZcaSpace(name="zca"),
    PerImageZcaSpace(name="zca_per_image"),
)


def pixels_of(n=60):
    """Random pixels."""
    generator = torch.Generator().manual_seed(4)
    return torch.randint(0, 256, (n, *SHAPE), dtype=torch.uint8, generator=generator)


@pytest.fixture
def pixels():
    """A small data set."""
    return pixels_of()


@pytest.fixture
def index():
    """Some of its images, in an order of their own."""
    return torch.randperm(60, generator=torch.Generator().manual_seed(1))[:41]


@pytest.fixture
def kept(pixels, index):
    """They, kept as pixels."""
    return network_images(pixels, index, Standard(FACTS), CPU)


@pytest.fixture
def whole(pixels, index):
    """They as floats, all at once, by NumPy, which divides as IEEE has it."""
    mean, std = (
        np.array(values, np.float32).reshape(1, 3, 1, 1) for values in (FACTS.mean, FACTS.std)
    )
    picked = pixels[index].numpy().astype(np.float32)
    return torch.from_numpy((picked / np.float32(255) - mean) / std)


@pytest.mark.parametrize(
    "some",
    [
        slice(None),
        slice(3, 20),
        slice(None, None, 7),
        slice(0, 0),
        torch.tensor([5, 0, 5, 40]),
        torch.tensor([], dtype=torch.int64),
        torch.arange(41) % 3 == 0,
    ],
    ids=["all", "part", "every seventh", "none", "places", "no places", "where true"],
)
def test_a_batch_is_the_whole_sets_to_the_bit(kept, whole, some):
    """Whatever it is asked by, it is what the whole set as floats would give."""
    assert kept[some].dtype == torch.float32
    assert torch.equal(kept[some], whole[some])


def test_every_value_of_a_pixel_comes_out_as_from_the_whole_set():
    """All 256, in all channels, whether alone or among others."""
    levels = torch.arange(256, dtype=torch.uint8).view(256, 1, 1, 1).expand(-1, *SHAPE)
    space = Standard(FACTS)
    kept = network_images(levels, torch.arange(256), space, CPU)
    one_by_one = torch.cat([kept[k : k + 1] for k in range(256)])
    assert torch.equal(one_by_one, enter(space, levels))
    assert torch.equal(kept[:], one_by_one)


def test_it_tells_of_itself_what_the_whole_would(kept, whole):
    """Number, shape, dtype and device."""
    assert len(kept) == 41
    assert (kept.shape, kept.dtype, kept.device) == (whole.shape, whole.dtype, whole.device)


def test_all_images_are_asked_about_in_order(kept, whole):
    """Pixels or floats; the last batch may be smaller; of no images there is one of none."""
    for images in (kept, whole):
        asked = []

        def answer(batch, asked=asked):
            asked.append(len(batch))
            return batch.flatten(1)[:, :2].double()

        assert torch.equal(by_batch(answer, images, batch_size=10), answer(whole))
        assert asked == [10, 10, 10, 10, 1, 41]
        none = by_batch(answer, pick(images, torch.tensor([], dtype=torch.int64)), batch_size=10)
        assert none.shape == (0, 2)
        assert (none.dtype, asked[6:]) == (torch.float64, [0])


def test_picked_images_are_the_very_pixels(kept, whole, pixels):
    """Of pixels a view, of floats a copy; the same images either way."""
    places = torch.tensor([7, 1, 30])
    picked = pick(kept, places)
    assert isinstance(picked, PixelImages)
    assert torch.equal(picked[:], whole[places])
    assert torch.equal(pick(whole, places), whole[places])
    pixels.fill_(0)
    assert float(picked[:].max()) < 0


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.name)
def test_images_of_any_space_are_those_that_enter_it(pixels, index, spec):
    """Kept as pixels in the standard space alone; whitened ones are computed once."""
    space = fit_space(spec, pixels, FACTS, index=index)
    images = network_images(pixels, index, space, CPU)
    assert torch.equal(images[:], enter(space, pixels[index]))
    assert isinstance(images, PixelImages) == (spec.name == "standard")


@pytest.mark.parametrize("spec", SPECS[1:], ids=lambda spec: spec.name)
def test_an_index_fits_as_the_images_at_it_do(spec):
    """To the bit, more images than a part of a fit holds."""
    pixels = pixels_of(2_300)
    index = torch.randperm(2_300, generator=torch.Generator().manual_seed(2))[:2_200]
    one, other = fit_space(spec, pixels, FACTS, index=index), fit_space(spec, pixels[index], FACTS)
    assert torch.equal(one.matrix, other.matrix)
    assert torch.equal(enter(one, pixels, index), enter(other, pixels[index]))


def test_another_device_holds_the_images_asked_for_as_bytes(pixels, index, monkeypatch):
    """Moved a part at a time; on a device without memory, so that shapes and types alone show."""
    monkeypatch.setattr("ddcal_core.data.network_images._CHUNK", 10)
    space = Standard(FACTS)
    moved = network_images(pixels, index, space, torch.device("meta"))
    assert moved.device.type == moved[:5].device.type == "meta"
    assert (len(moved), moved[:5].shape, moved[:5].dtype) == (41, (5, *SHAPE), torch.float32)
    assert space.mean.device == CPU


def test_images_of_other_channels_are_refused(pixels):
    """As whole sets are."""
    with pytest.raises(InvalidDataError, match="of 3 channels, got shape"):
        network_images(pixels[:, :1], torch.arange(60), Standard(FACTS), CPU)
