"""What beside the class linear probes read off the networks of each training set, with controls."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ddcal_core.data.input_space import InputSpace
from ddcal_core.data.network_images import by_batch
from ddcal_core.formats.report_analyses import ProbeAnalysis, ProbeScores
from ddcal_core.networks import build_network
from ddcal_core.networks.layers import Network
from ddcal_core.seeding import seeded_generator
from ddcal_core.specs.evaluation import Probe
from ddcal_core.specs.networks import NetworkSpec
from ddcal_core.training.probing import ProbeTask, linear_probe, n_ways, probe_task
from worker.trainer.fitting.calibration_images import CalibrationImages
from worker.trainer.inputs import ModelInput
from worker.trainer.report.measurements import mean_and_deviation
from worker.trainer.report.training_sets import TrainingSet

N_IMAGES = 1_000
_BATCH = 128


@dataclass(frozen=True)
class _Read:
    """How often one probe of one network was right: on its task, and the two controls."""

    accuracy: float
    untrained: float
    shuffled: float


def probe_analyses(
    groups: Sequence[TrainingSet],
    models: Mapping[str, ModelInput],
    networks: Mapping[str, nn.Module],
    images: CalibrationImages,
    probes: Sequence[Probe],
    *,
    seed: int,
    on_network: Callable[[], None],
) -> list[ProbeAnalysis]:
    """Probe frozen features on real validation images; networks without features of ours have none.

    Args:
        groups: the training sets.
        models: by their ids.
        networks: likewise, in evaluation mode.
        images: finds validation images.
        probes: which; none gives none.
        seed: of changes, controls and shuffled targets.
        on_network: told after each network.
    """
    analyses = []
    for group in groups if probes else ():
        own = [models[one.id] for one in group.models]
        if not all(isinstance(networks[model.id], Network) for model in own):
            continue
        read: dict[Probe, list[_Read]] = {probe: [] for probe in probes}
        for model in own:
            for probe in probes:
                read[probe].append(_read(probe, model, networks[model.id], images, seed))
            on_network()
        scores = [_scores(probe, own[0], found) for probe, found in read.items()]
        analyses.append(ProbeAnalysis(training_set_label=group.label, probes=tuple(scores)))
    return analyses


def _read(
    probe: Probe, model: ModelInput, network: nn.Module, images: CalibrationImages, seed: int
) -> _Read:
    space = images.space_of(model)
    pixels = images.validation_pixels(model, N_IMAGES)
    task = probe_task(probe, pixels, model.config.mean, seeded_generator(seed, "probe", probe))
    features = _features(network, space, task)
    config = model.config
    assert isinstance(config.network, NetworkSpec)  # its network has features
    generator = seeded_generator(seed, "untrained", config.seed, config.seed_index)
    untrained = build_network(config.network, config.facts, generator).eval()
    shuffled = task.targets[
        torch.randperm(len(task.targets), generator=seeded_generator(seed, "shuffled", probe))
    ]
    return _Read(
        accuracy=linear_probe(features, task.targets),
        untrained=linear_probe(_features(untrained, space, task), task.targets),
        shuffled=linear_probe(features, shuffled),
    )


def _features(network: nn.Module, space: InputSpace, task: ProbeTask) -> Tensor:
    assert isinstance(network, Network)
    device = next(network.parameters()).device

    def embedded(pixels: Tensor) -> Tensor:
        return network.embed(space(pixels).to(device)).flatten(1)

    with torch.no_grad():
        return by_batch(embedded, task.pixels, batch_size=_BATCH)


def _scores(probe: Probe, model: ModelInput, found: Sequence[_Read]) -> ProbeScores:
    return ProbeScores(
        probe=probe,
        chance=1 / n_ways(probe, model.config.image_shape),
        accuracy=mean_and_deviation([one.accuracy for one in found]),
        untrained=mean_and_deviation([one.untrained for one in found]),
        shuffled=mean_and_deviation([one.shuffled for one in found]),
        networks=tuple(one.accuracy for one in found),
    )
