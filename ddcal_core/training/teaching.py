"""Soft labels by a network that has learned from all real images."""

import torch
from torch import Tensor, nn

from ddcal_core.data.network_images import NetworkImages
from ddcal_core.networks import build_network
from ddcal_core.progress import ProgressCallback, ignore_progress
from ddcal_core.seeding import seeded_generator
from ddcal_core.specs.facts import DatasetFacts
from ddcal_core.specs.training import CrossEntropy, Teacher, TrainSpec
from ddcal_core.training.train import predict_logits, train_network

PHASE = "teacher"


def train_teacher(
    images: NetworkImages,
    labels: Tensor,
    teacher: Teacher,
    student: TrainSpec,
    facts: DatasetFacts,
    *,
    seed: int,
    on_progress: ProgressCallback = ignore_progress,
) -> nn.Module:
    """A network like the ones to be taught, trained on real images by plain cross-entropy.

    Args:
        images: N, (C, H, W) each, network-input space; the network ends up on their device.
        labels: int64 (N,).
        teacher: its epochs.
        student: which network, and how the steps are taken; its regulariser, loss and dropping of
            information are the student's alone.
        facts: image shape and number of classes.
        seed: of parameters and order, drawn apart from those of students.
        on_progress: told after each epoch.

    Raises:
        ValueError: the images are too small for the network.
        DivergedError: training it failed.
    """
    plain = {"loss": CrossEntropy(name="cross_entropy"), "regulariser": None, "drop": None}
    spec = student.model_copy(update={**plain, "epochs": teacher.epochs})
    network = build_network(spec, facts, seeded_generator(seed, PHASE, "network"))
    network.to(images.device)
    train_network(
        network,
        images,
        labels,
        spec,
        generator=seeded_generator(seed, PHASE, "order"),
        on_progress=on_progress,
        phase=PHASE,
    )
    return network


def soft_labels(network: nn.Module, images: NetworkImages, temperature: float) -> Tensor:
    """What a teacher makes of images: softmax(logits / temperature).

    Args:
        network: maps (N, C, H, W) to logits (N, K).
        images: N, (C, H, W) each, network-input space, on the network's device.
        temperature: above 1 softens.

    Returns:
        float32 (N, K), rows adding up to 1.

    Source:
        Hinton, Vinyals and Dean, arXiv 1503.02531; on random images beside distilled sets in Qin,
        Deng and Alvarez-Melis, NeurIPS 2024 (A Label is Worth a Thousand Images).
    """
    logits = predict_logits(network, images).double()
    return torch.softmax(logits / temperature, 1).float()
