import pytest
import torch

from ddcal_core.distillation.method import DistilledSet
from ddcal_core.distillation.selection import epochs_of, selection_by_validation
from ddcal_core.errors import StoppedError
from ddcal_core.seeding import seeded_generator
from ddcal_core.specs.facts import DatasetFacts
from ddcal_core.specs.methods.dm import DmSpec
from ddcal_core.specs.methods.method import SelectionSpec

FACTS = DatasetFacts(
    image_shape=(1, 8, 8),
    class_names=("a", "b"),
    train_class_counts=(40, 40),
    test_class_counts=(1, 1),
    mean=(0.5,),
    std=(0.25,),
)
SPEC = DmSpec(
    method="dm", width=8, depth=1, selection=SelectionSpec(n_evaluations=3, patience=2, epochs=30)
)


def two_classes(n_images, seed):
    """Class 0 is bright on the left, class 1 on the right."""
    generator = seeded_generator(seed)
    labels = torch.arange(n_images) % 2
    images = torch.randn((n_images, 1, 8, 8), generator=generator)
    images[labels == 0, :, :, :4] += 1.5
    images[labels == 1, :, :, 4:] += 1.5
    return images, labels


def selection(images, labels, spec=SPEC):
    """The selection on validation images."""
    return selection_by_validation(images, labels, spec, FACTS, seed=3)


def no_tick():
    """Nothing to tell."""


def test_a_good_set_scores_high_and_a_wrong_one_low():
    """Labels turned round give about 1 minus the accuracy; the same set scores the same twice."""
    chosen = selection(*two_classes(200, 0))
    images, labels = two_classes(20, 1)
    good = chosen.score(DistilledSet(images, labels), no_tick)
    assert good > 0.9
    assert chosen.score(DistilledSet(images, 1 - labels), no_tick) < 0.1
    assert chosen.score(DistilledSet(images, labels), no_tick) == good
    assert (chosen.n_evaluations, chosen.patience) == (3, 2)


def test_soft_labels_and_a_learned_rate_are_trained_with():
    """Soft labels turned round score low; a rate too small to learn anything leaves chance."""
    chosen = selection(*two_classes(200, 0))
    images, labels = two_classes(20, 1)
    soft = torch.nn.functional.one_hot(1 - labels).float() * 0.8 + 0.1
    assert chosen.score(DistilledSet(images, soft), no_tick) < 0.1
    slow = chosen.score(DistilledSet(images, labels, learned_lr=1e-12), no_tick)
    untrained = chosen.score(DistilledSet(images, 1 - labels, learned_lr=1e-12), no_tick)
    assert slow == untrained


def test_a_set_that_training_diverges_on_scores_nothing():
    """A learning rate beyond all bounds is no reason to fail: the set is the worst there is."""
    chosen = selection(*two_classes(20, 0))
    images, labels = two_classes(20, 1)
    assert chosen.score(DistilledSet(images, labels, learned_lr=1e30), no_tick) == 0.0


def test_training_can_be_stopped():
    """Each epoch asks."""

    def stop():
        raise StoppedError

    with pytest.raises(StoppedError):
        selection(*two_classes(20, 0)).score(DistilledSet(*two_classes(4, 1)), stop)


def test_without_validation_images_or_evaluations_there_is_none():
    """An empty split, and n_evaluations 0."""
    images, labels = two_classes(20, 0)
    assert selection(images[:0], labels[:0]) is None
    never = SPEC.model_copy(update={"selection": SelectionSpec(n_evaluations=0)})
    assert selection(images, labels, never) is None


@pytest.mark.parametrize(
    ("n_images", "epochs"), [(10, 150), (50, 100), (100, 50), (500, 10), (5000, 5)]
)
def test_epochs_keep_to_the_budget(n_images, epochs):
    """As many as show 5,000 images, 5 to 150; what is asked for wins."""
    assert epochs_of(DmSpec(method="dm"), n_images) == epochs
    assert epochs_of(SPEC, n_images) == 30
