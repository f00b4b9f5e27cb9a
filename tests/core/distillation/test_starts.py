"""Learning starts from a distilled set: its images, in the order of their classes, whoever made it.

Each method by name, so that one more without a start is told here.
"""

import pytest
import torch

from ddcal_core.distillation.dc import GradientMatching
from ddcal_core.distillation.dm import DistributionMatching
from ddcal_core.distillation.images import StartingSet
from ddcal_core.distillation.mtt import TrajectoryMatching
from ddcal_core.distillation.rtp import RememberingThePast
from ddcal_core.errors import InvalidDataError
from ddcal_core.specs.distillation import METHODS
from ddcal_core.specs.methods.method import SetStart
from tests.core.distillation.trajectories import FACTS, SEED, expert_spec_of, real_data, recorded

NAMED = SetStart(set="set_" + "a" * 26)
LABELS = torch.tensor([2, 0, 1, 1, 0, 2])
ORDER = [1, 4, 2, 3, 0, 5]  # by class; within one as they come
CLASSES = {
    "dm": DistributionMatching,
    "dc": GradientMatching,
    "dsa": GradientMatching,
    "mtt": TrajectoryMatching,
    "rtp": RememberingThePast,
}


@pytest.fixture(scope="module")
def experts(tmp_path_factory):
    """Two experts of three epochs, for mtt."""
    return recorded(tmp_path_factory.mktemp("experts") / "experts", expert_spec_of())


@pytest.fixture
def start():
    """Two images of each class, in mixed order, with soft labels that give most to the class."""
    generator = torch.Generator().manual_seed(0)
    odds = torch.rand((6, 3), generator=generator) + 2 * torch.nn.functional.one_hot(LABELS, 3)
    images = torch.randn((6, 2, 8, 8), generator=generator)
    return StartingSet(images, LABELS, odds / odds.sum(1, keepdim=True))


def built(method, start, experts, **changes):
    """The method on the small real data."""
    settings = {"method": method, "images_per_class": 2, "width": 4, "depth": 2, "init": NAMED}
    if method == "mtt":
        settings |= {"max_start_epoch": 2, "expert_epochs": 2}
    if method == "rtp":
        settings |= {"form": "pixels", "labels": "hard"}
    spec = METHODS[method](**settings | changes)
    more = {"experts": experts} if method == "mtt" else {}
    return CLASSES[method](*real_data(), spec, FACTS, seed=SEED, start=start, **more)


def test_every_method_is_looked_at():
    """A method that is added has a start, too."""
    assert CLASSES.keys() == METHODS.keys()


@pytest.mark.parametrize("method", CLASSES)
def test_learning_starts_from_the_images_of_a_set(method, start, experts):
    """The same bits, those of class 0 first, and nothing of the set is written to."""
    before = start.images.clone()
    made = built(method, start, experts)
    state = made.initial_state()
    begun = made.distilled_set(state)
    assert torch.equal(begun.images, start.images[ORDER])
    assert torch.equal(begun.labels, LABELS[ORDER])
    made.step(state, 0, lr_scale=1.0)
    assert not torch.equal(made.distilled_set(state).images, begun.images)
    assert torch.equal(start.images, before)


@pytest.mark.parametrize("method", ["mtt", "rtp"])
def test_soft_labels_start_from_those_of_a_set(method, start, experts):
    """Where labels are learned; a probability of 0 becomes one that can be left."""
    start.soft_labels[0] = torch.tensor([0.0, 0.25, 0.75])
    begun = built(method, start, experts, labels="soft")
    labels = begun.distilled_set(begun.initial_state()).labels
    torch.testing.assert_close(labels, start.soft_labels[ORDER], rtol=0, atol=3e-6)
    assert float(labels.min()) > 0


@pytest.mark.parametrize("method", ["mtt", "rtp"])
def test_soft_labels_of_hard_ones_start_as_ever(method, start, experts):
    """0.9 for the class."""
    hard = StartingSet(start.images, LABELS)
    begun = built(method, hard, experts, labels="soft")
    labels = begun.distilled_set(begun.initial_state()).labels
    torch.testing.assert_close(labels[torch.arange(6), LABELS[ORDER]], torch.full((6,), 0.9))


def test_bases_start_near_the_images_of_a_set(experts):
    """As many bases as a set of one colour each needs give it again."""
    colours = torch.linspace(-1, 1, 74 * 3 * 2).view(-1, 2, 1, 1)
    labels = torch.arange(74 * 3) % 3
    start = StartingSet(colours.expand(-1, -1, 8, 8).clone(), labels)
    made = built("rtp", start, experts, form="bases", n_bases=3)
    begun = made.distilled_set(made.initial_state()).images
    order = labels.argsort(stable=True)
    torch.testing.assert_close(begun, start.images[order], rtol=0, atol=1e-5)


@pytest.mark.parametrize("method", CLASSES)
def test_a_set_of_another_size_is_refused(method, start, experts):
    """One image of a class too few, by its number."""
    short = StartingSet(start.images[:-1], LABELS[:-1])
    with pytest.raises(InvalidDataError, match="of 2 images of each class to start from; got 1 to"):
        built(method, short, experts)


@pytest.mark.parametrize("method", CLASSES)
def test_a_start_that_is_named_and_not_given_is_an_error(method, experts):
    """Never noise or real images instead."""
    with pytest.raises(ValueError, match="that init names, got none"):
        built(method, None, experts)
