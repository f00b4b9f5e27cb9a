"""Small data and experts for the tests of MTT and RTP."""

import torch

from ddcal_core.distillation.experts import ExpertTraining, open_experts, record_experts
from ddcal_core.seeding import seeded_generator
from ddcal_core.specs import DatasetFacts, ExpertSpec

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


def expert_spec_of(**changes):
    """Two experts of three epochs."""
    settings = {"n_experts": 2, "epochs": 3, "batch_size": 8, "lr": 0.1, "width": 4, "depth": 2}
    return ExpertSpec(**settings | changes)


def training_of(spec, *, seed=SEED):
    """Experts to be trained on the real data."""
    return ExpertTraining(*real_data(), spec, FACTS, seed)


def recorded(path, spec, *, seed=SEED, record=None):
    """Experts on the real data, written and opened."""
    record_experts(path, training_of(spec, seed=seed), record or {})
    return open_experts(path, {})
