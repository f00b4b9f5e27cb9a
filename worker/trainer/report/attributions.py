"""Which pixels of validation images the networks of each training set go by, with a control."""

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn

from ddcal_core.formats.report_analyses import AttributionAnalysis, AttributionScores
from ddcal_core.networks.layers import Network
from ddcal_core.seeding import seeded_generator
from ddcal_core.training.attribution import (
    areas_by_removal,
    concentration,
    integrated_gradients,
)
from worker.trainer.fitting.calibration_images import CalibrationImages
from worker.trainer.inputs import ModelInput
from worker.trainer.report.training_sets import TrainingSet

N_IMAGES = 200
_BATCH = 50


def attribution_analyses(
    groups: Sequence[TrainingSet],
    models: Mapping[str, ModelInput],
    networks: Mapping[str, nn.Module],
    images: CalibrationImages,
    *,
    seed: int,
    on_network: Callable[[], None],
) -> list[AttributionAnalysis]:
    """Explain the answers of networks of ours; others have no gradient, or none that is known.

    Args:
        groups: the training sets.
        models: by their ids.
        networks: likewise, in evaluation mode.
        images: finds validation images.
        seed: of the control's random orders.
        on_network: told after each network.
    """
    analyses = []
    for group in groups:
        own = [models[one.id] for one in group.models]
        if not all(isinstance(networks[model.id], Network) for model in own):
            continue
        scores, n_images = [], 0
        for model in own:
            pixels = images.validation_pixels(model, N_IMAGES)
            n_images = len(pixels)
            network = networks[model.id]
            device = next(network.parameters()).device
            entered = images.space_of(model)(pixels).to(device)
            scores.append(_scores(network, entered, seed))
            on_network()
        analyses.append(
            AttributionAnalysis(
                training_set_label=group.label, n_images=n_images, networks=tuple(scores)
            )
        )
    return analyses


def _scores(network: nn.Module, images: Tensor, seed: int) -> AttributionScores:
    """Means over images, each explained for the class that the network answers."""
    few, deletion, insertion, control = [], [], [], []
    generator = seeded_generator(seed, "attribution order")
    for batch in torch.split(images, _BATCH):
        with torch.no_grad():
            classes = network(batch).argmax(1)
        saliency = integrated_gradients(network, batch, classes).sum(1)
        few.append(concentration(saliency))
        deleted, inserted = areas_by_removal(network, batch, saliency.abs(), classes)
        deletion.append(deleted)
        insertion.append(inserted)
        order = torch.rand(saliency.shape, generator=generator).to(saliency.device)
        control.append(areas_by_removal(network, batch, order, classes)[0])
    return AttributionScores(
        concentration=_mean(few),
        deletion=_mean(deletion),
        insertion=_mean(insertion),
        random_order=_mean(control),
    )


def _mean(parts: Sequence[Tensor]) -> float:
    return float(torch.cat(list(parts)).mean())
