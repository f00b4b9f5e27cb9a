"""Thirty-one small images of three classes, for the tests of every method."""

import torch

from ddcal_core.seeding import seeded_generator
from ddcal_core.specs.facts import DatasetFacts

FACTS = DatasetFacts(
    image_shape=(2, 8, 8),
    class_names=("a", "b", "c"),
    train_class_counts=(12, 9, 10),
    test_class_counts=(1, 1, 1),
    mean=(0.5, 0.5),
    std=(0.25, 0.25),
)
SEED = 5


def real_data():
    """Images of three classes that differ in where they are bright, in mixed order."""
    generator = seeded_generator(0, "real")
    labels = torch.tensor([0] * 12 + [1] * 9 + [2] * 10)
    labels = labels[torch.randperm(31, generator=generator)]
    images = torch.randn((31, 2, 8, 8), generator=generator)
    images[torch.arange(31), :, labels * 2] += 2
    return images, labels
