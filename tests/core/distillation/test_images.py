"""What methods start from is the same whether real images are floats or kept as pixels."""

import pytest
import torch

from ddcal_core.data.dataset_facts import NAMED_DATASETS
from ddcal_core.data.input_space import Standard, enter
from ddcal_core.data.network_images import network_images
from ddcal_core.distillation.images import initial_images, real_batches
from ddcal_core.seeding import seeded_generator
from ddcal_core.specs.methods.dm import DmSpec

FACTS = NAMED_DATASETS["cifar10"]
SPACE = Standard(FACTS)
LABELS = torch.arange(60) % 10


@pytest.fixture
def pixels():
    """Six images of each class and a few beside them that are not taken."""
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (70, 3, 32, 32), dtype=torch.uint8, generator=generator)


@pytest.fixture
def forms(pixels):
    """The same 60 images as floats, and as pixels."""
    index = torch.randperm(70, generator=torch.Generator().manual_seed(1))[:60]
    kept = network_images(pixels, index, SPACE, torch.device("cpu"))
    return enter(SPACE, pixels[index]), kept


@pytest.mark.parametrize("init", ["real", "noise"])
def test_learning_starts_from_the_same_images(forms, init):
    """Bits, dtype and device."""
    spec = DmSpec(method="dm", images_per_class=2, init=init)
    floats, kept = (initial_images(images, LABELS, spec, FACTS, 3, None) for images in forms)
    assert (kept.dtype, kept.device) == (floats.dtype, floats.device)
    assert torch.equal(kept, floats)


@pytest.mark.parametrize("batch_size", [4, 9])
def test_the_same_real_images_are_drawn(forms, batch_size):
    """Class by class, all of a class where it has fewer; from floats sorted by class by hand."""
    floats = forms[0]
    orders = [torch.randperm(6, generator=generator) for generator in [seeded_generator(7)] * 10]
    wanted = [floats[LABELS.eq(k)][order[:batch_size]] for k, order in enumerate(orders)]
    for images in forms:
        drawn = real_batches(images, LABELS, batch_size, 10)(seeded_generator(7))
        assert all(torch.equal(one, other) for one, other in zip(drawn, wanted, strict=True))
