"""The factor that a distilled set carries: one number for the temperatures of all its networks."""

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ddcal_core.calibration.mask_ratio import MeasuredFactor, factor_by_labels
from ddcal_core.distillation.method import DistilledSet
from ddcal_core.distillation.selection import BATCH_SIZE, MAX_VALIDATION_IMAGES, epochs_of
from ddcal_core.errors import DivergedError
from ddcal_core.formats.manifests import FactorMeasurement, FactorTraining, SetFactor
from ddcal_core.metrics import accuracy
from ddcal_core.networks import build_network
from ddcal_core.progress import ProgressCallback
from ddcal_core.seeding import seeded_generator
from ddcal_core.specs.facts import DatasetFacts
from ddcal_core.specs.methods.method import MethodSpec
from ddcal_core.specs.networks import network_spec
from ddcal_core.specs.training import TrainSpec
from ddcal_core.training.train import predict_logits, train_network
from worker.trainer.loading import Examples

PHASE = "measure factor"


def carried_factor(
    distilled: DistilledSet,
    validation: Examples,
    spec: MethodSpec,
    facts: DatasetFacts,
    *,
    seed: int,
    on_progress: ProgressCallback,
) -> SetFactor | None:
    """Train three networks on a set and measure its factor on labelled validation images.

    They are ConvNets: one as wide and deep as the one distilled on, trained as those that choose
    among the sets are; one half as wide and a block shallower; one three quarters as wide and two
    blocks shallower, trained twice as long. Three that differ err less than one, whose own ways
    would go into the factor of all later networks.

    Args:
        distilled: the set as it will be used.
        validation: real images, cut from the training split, with their labels; at most 2,000 of
            them are used.
        spec: how the set was distilled.
        facts: image shape and number of classes.
        seed: of the networks and the images used.
        on_progress: told after each epoch.

    Returns:
        What the manifest says: the factor, and how it was measured; None where it was not asked
        for, or there are no validation images.
    """
    if not spec.measure_factor or len(validation.labels) == 0:
        return None
    started = time.monotonic()
    order = torch.randperm(len(validation.labels), generator=seeded_generator(seed, PHASE, "real"))
    chosen = order[:MAX_VALIDATION_IMAGES].to(validation.images.device)
    measuring = _Measuring(
        distilled=distilled,
        real=(validation.images[chosen], validation.labels[chosen]),
        facts=facts,
        seed=seed,
        on_progress=on_progress,
    )
    measured = [
        measuring.with_network(place, training)
        for place, training in enumerate(_trainings(distilled, spec))
    ]
    return SetFactor(
        factor=_geometric_mean([one.factor for one in measured if one.factor is not None]),
        n_real=len(chosen),
        labels_used="real validation images with their labels, where the set is made; whoever "
        "uses the factor needs none",
        measured=tuple(measured),
        seconds=round(time.monotonic() - started, 3),
    )


def _trainings(distilled: DistilledSet, spec: MethodSpec) -> list[TrainSpec]:
    epochs = epochs_of(spec, len(distilled.images))
    shapes = (
        (spec.width, spec.depth, epochs),
        (max(1, spec.width // 2), max(1, spec.depth - 1), epochs),
        (max(1, 3 * spec.width // 4), max(1, spec.depth - 2), 2 * epochs),
    )
    return [
        TrainSpec(
            width=width, depth=depth, epochs=epochs, batch_size=BATCH_SIZE, n_seeds=1
        ).with_learned_lr(distilled.learned_lr)
        for width, depth, epochs in shapes
    ]


@dataclass(frozen=True, kw_only=True, eq=False)
class _Measuring:
    """What all networks that measure have in common.

    Attributes:
        distilled: the set.
        real: float32 (N, C, H, W) and int64 (N,), labelled real images.
        facts: image shape and number of classes.
        seed: of the networks.
        on_progress: told after each epoch.
    """

    distilled: DistilledSet
    real: tuple[Tensor, Tensor]
    facts: DatasetFacts
    seed: int
    on_progress: ProgressCallback

    def with_network(self, place: int, training: TrainSpec) -> FactorMeasurement:
        """Train the network of a place and measure."""
        assert training.lr is not None
        network = build_network(
            training, self.facts, seeded_generator(self.seed, PHASE, "network", place)
        ).to(self.distilled.images.device)
        said = FactorMeasurement(
            network=network_spec(training.described()),
            train=FactorTraining(
                epochs=training.epochs, batch_size=training.batch_size, lr=training.lr
            ),
        )
        images, labels = self.distilled.images, self.distilled.labels
        try:
            train_network(
                network,
                images,
                labels,
                training,
                generator=seeded_generator(self.seed, PHASE, "order", place),
                on_progress=self.on_progress,
                phase=PHASE,
            )
        except DivergedError as error:
            return said.model_copy(update={"why_none": str(error)})
        hard = labels if labels.ndim == 1 else labels.argmax(1)
        measured = factor_by_labels(network, (images, hard), self.real, seed=self.seed)
        is_right = accuracy(predict_logits(network, self.real[0]), self.real[1])
        return said.model_copy(update={**_told(measured), "validation_accuracy": is_right})


def _told(measured: MeasuredFactor) -> dict[str, object]:
    yardstick = measured.yardstick
    of_two = yardstick.kind == "logit_rms"
    why_none = None
    if yardstick.value is None:
        why_none = "the network has learned nothing from the set"
    elif measured.temperature is None:
        why_none = (
            "no temperature is best on the validation images: the network gets all of them right, "
            "or no more than by chance"
        )
    return {
        "factor": measured.factor,
        "temperature": measured.temperature,
        "half_way_temperature": None if of_two else yardstick.value,
        "logit_rms": yardstick.value if of_two else None,
        "why_none": why_none,
    }


def _geometric_mean(factors: Sequence[float]) -> float | None:
    if not factors:
        return None
    return math.exp(sum(math.log(factor) for factor in factors) / len(factors))
