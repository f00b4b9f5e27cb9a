"""The factor that a distilled set carries: one number for the temperatures of all its networks."""

import time

import torch

from ddcal_core.calibration.mask_ratio import MeasuredFactor, factor_by_labels
from ddcal_core.data.network_images import pick
from ddcal_core.distillation.method import DistilledSet
from ddcal_core.distillation.selection import BATCH_SIZE, MAX_VALIDATION_IMAGES, epochs_of
from ddcal_core.errors import DivergedError
from ddcal_core.formats.manifests import FactorTraining, NoSetFactor, SetFactor
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
) -> SetFactor | NoSetFactor | None:
    """Train one network on a set and measure the factor on labelled validation images.

    The network is a ConvNet as wide and deep as the one distilled on, trained as those that choose
    among the sets are.

    Args:
        distilled: the set as it will be used.
        validation: real images, cut from the training split, with their labels; at most 2,000 of
            them are used.
        spec: how the set was distilled.
        facts: image shape and number of classes.
        seed: of the network and the images used.
        on_progress: told after each epoch.

    Returns:
        What the manifest says: the factor, or why there is none, and how it was measured; None
        where it was not asked for, or there are no validation images.
    """
    if not spec.measure_factor or len(validation.labels) == 0:
        return None
    started = time.monotonic()
    training = TrainSpec(
        width=spec.width,
        depth=spec.depth,
        epochs=epochs_of(spec, len(distilled.images)),
        batch_size=BATCH_SIZE,
        n_seeds=1,
    ).with_learned_lr(distilled.learned_lr)
    images, device = distilled.images, validation.images.device
    order = torch.randperm(len(validation.labels), generator=seeded_generator(seed, PHASE, "real"))
    chosen = order[:MAX_VALIDATION_IMAGES].to(device)
    real = pick(validation.images, chosen), validation.labels[chosen]
    network = build_network(training, facts, seeded_generator(seed, PHASE, "network")).to(device)
    try:
        train_network(
            network,
            images,
            distilled.labels,
            training,
            generator=seeded_generator(seed, PHASE, "order"),
            on_progress=on_progress,
            phase=PHASE,
        )
    except DivergedError as error:
        return NoSetFactor(why_none=str(error))
    labels = distilled.labels if distilled.labels.ndim == 1 else distilled.labels.argmax(1)
    measured = factor_by_labels(network, (images, labels), real, seed=seed)
    assert training.lr is not None
    of_two = measured.yardstick.kind == "logit_rms"
    return SetFactor(
        factor=measured.factor,
        why_none=_why_none(measured),
        temperature=measured.temperature,
        half_way_temperature=None if of_two else measured.yardstick.value,
        logit_rms=measured.yardstick.value if of_two else None,
        n_real=measured.n_real,
        labels_used="real validation images with their labels, where the set is made; whoever "
        "uses the factor needs none",
        network=network_spec(training.described()),
        train=FactorTraining(
            epochs=training.epochs, batch_size=training.batch_size, lr=training.lr
        ),
        validation_accuracy=accuracy(predict_logits(network, real[0]), real[1]),
        seconds=round(time.monotonic() - started, 3),
    )


def _why_none(measured: MeasuredFactor) -> str | None:
    if measured.yardstick.value is None:
        return "the network has learned nothing from the set"
    if measured.temperature is None:
        return (
            "no temperature is best on the validation images: the network gets all of them right, "
            "or no more than by chance"
        )
    return None
