"""Small data and experts for the tests of MTT and RTP."""

from ddcal_core.distillation.experts import ExpertTraining, open_experts, record_experts
from ddcal_core.specs.experts import ExpertSpec
from tests.core.distillation.small_data import FACTS, SEED, real_data


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
