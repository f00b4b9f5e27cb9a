"""The cases of `benchmarks.carried_temperature`: small sets, many networks of each, their logits.

A case is a data set (or some classes of one, or two joined), a source of the small set (random real
images, or DM with few iterations), images per class and a seed. Its file holds logits alone, so
that all rules are compared on the same networks.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.mask_ratio_cases import BATCH_SIZE, DM, N_POOL, WIDTH, Case, read_pixels
from ddcal_core.calibration.left_out import fold_of_each
from ddcal_core.calibration.yardstick import pairs_of_unlike
from ddcal_core.data.class_choice import facts_of_classes
from ddcal_core.data.dataset_facts import NAMED_DATASETS
from ddcal_core.data.input_space import Standard, enter
from ddcal_core.data.labelled import LabelledImages, pick_classes, random_subset
from ddcal_core.distillation.dm import DistributionMatching
from ddcal_core.distillation.loop import distill
from ddcal_core.networks import build_network
from ddcal_core.seeding import seeded_generator
from ddcal_core.specs.facts import DatasetFacts
from ddcal_core.specs.masks import MaskSpec
from ddcal_core.specs.methods.dm import DmSpec
from ddcal_core.specs.training import Focal, TrainSpec
from ddcal_core.training.masking import draw_mask
from ddcal_core.training.train import predict_logits, train_network

N_REAL, N_TEST = 500, 2_500
JOINED = "mnist+fashion_mnist"
DATASETS: dict[str, tuple[str, tuple[int, ...] | None]] = {
    "digits": ("digits", None),
    "fashion": ("fashion_mnist", None),
    "cifar": ("cifar10", None),
    "fashion_2": ("fashion_mnist", (2, 4)),  # pullover, coat
    "cifar_2": ("cifar10", (3, 5)),  # cat, dog
    "digits_2": ("digits", (3, 8)),
    "mnist": ("mnist", None),
    "joined": (JOINED, None),
    "cifar_6": ("cifar10", (2, 3, 4, 5, 6, 7)),  # the animals
    "mnist_2": ("mnist", (4, 9)),
    "shirts_2": ("fashion_mnist", (0, 6)),  # T-shirt, shirt
    "fliers_2": ("cifar10", (0, 2)),  # airplane, bird
}
"""A case's data set -> a named one and its classes, None for all."""

FIRSTS: dict[str, Callable[[TrainSpec], dict[str, Any]]] = {
    "first": lambda _: {},
    "first, half as wide": lambda _: {"width": 16, "depth": 2},
    "first, trained twice": lambda spec: {"width": 24, "depth": 1, "epochs": 2 * spec.epochs},
}
"""May see labelled real images when the set is made; three of them were no better than one."""
LATER: dict[str, Callable[[TrainSpec], dict[str, Any]]] = {
    "another seed": lambda _: {},
    "width 8": lambda _: {"width": 8},
    "width 64": lambda _: {"width": 64},
    "depth 1": lambda _: {"depth": 1},
    "depth 2": lambda _: {"depth": 2},
    "a third of the epochs": lambda spec: {"epochs": spec.epochs // 3},
    "three times the epochs": lambda spec: {"epochs": 3 * spec.epochs},
    "focal loss": lambda _: {"loss": Focal(name="focal")},
}
"""Networks that have the small set alone."""


def read_dataset(name: str, folder: Path, cache: Path) -> tuple[DatasetFacts, Any, Any]:
    """The facts, training and test images of a case's data set, classes picked."""
    base, classes = DATASETS[name]
    names = base.split("+")
    parts = [[LabelledImages(*part) for part in read_pixels(one, folder, cache)] for one in names]
    facts = NAMED_DATASETS[names[0]]
    if len(names) > 1:
        others = NAMED_DATASETS[names[1]]
        facts = facts.model_copy(
            update={
                key: getattr(facts, key) + getattr(others, key)
                for key in ("class_names", "train_class_counts", "test_class_counts")
            }
        )
    train, test = (_joined([part[k] for part in parts]) for k in (0, 1))
    if classes is not None:
        facts = facts_of_classes(facts, classes)
        train, test = pick_classes(train, classes), pick_classes(test, classes)
    return facts, train, test


def _joined(parts: list[LabelledImages]) -> LabelledImages:
    images = torch.cat([part.images for part in parts])
    labels = torch.cat([part.labels + 10 * place for place, part in enumerate(parts)])
    return LabelledImages(images, labels)


def make_case(case: Case, folder: Path, cache: Path) -> dict[str, Any]:
    """Make the small set, train its networks and give their logits by network and images."""
    facts, train, test = read_dataset(case.dataset, folder, cache)
    space = Standard(facts)
    order = torch.randperm(len(train.labels), generator=seeded_generator(case.seed, "split"))
    n_real = min(N_REAL, len(order) // 3)
    real, pool = order[:n_real], order[n_real : n_real + N_POOL]
    tested = torch.randperm(len(test.labels), generator=seeded_generator(0, "test"))[:N_TEST]
    small = _small_set(case, (enter(space, train.images[pool]), train.labels[pool]), facts)
    views = {
        "real": enter(space, train.images[real]),
        "test": enter(space, test.images[tested]),
        **_views(small, case.seed),
    }
    usual = _usual(len(small[1]))
    made: dict[str, Any] = {
        "facts": {"n_classes": facts.n_classes},
        "real_labels": train.labels[real],
        "test_labels": test.labels[tested],
        "small_labels": small[1],
        "half_labels": torch.stack([small[1][k] for k in _pairs(small[1], case.seed)]),
        "networks": {},
        "folds": [],
    }
    for name, change in {**FIRSTS, **LATER}.items():
        network = _trained(case, small, facts, _spec(usual, change(usual)), name)
        made["networks"][name] = {view: _predict(network, x) for view, x in views.items()}
    if case.images_per_class > 1:
        made["folds"] = _folds(case, small, facts, usual)
    return made


def _small_set(
    case: Case, pool: tuple[Tensor, Tensor], facts: DatasetFacts
) -> tuple[Tensor, Tensor]:
    if case.source == "dm":
        spec = DmSpec(method="dm", images_per_class=case.images_per_class, **DM)
        backbone = DistributionMatching(*pool, spec, facts, seed=case.seed)
        made = distill(backbone, n_steps=spec.iterations).distilled
        return made.images, made.labels
    chosen = random_subset(
        pool[1],
        case.images_per_class,
        facts.n_classes,
        seeded_generator(case.seed, "random set"),
    )
    return pool[0][chosen], pool[1][chosen]


def _usual(n_images: int) -> TrainSpec:
    """150 epochs of a handful of images, 60 of more; batches of 64."""
    epochs = 150 if n_images <= BATCH_SIZE else 60
    return TrainSpec(width=WIDTH, epochs=epochs, batch_size=BATCH_SIZE)


def _pairs(labels: Tensor, seed: int) -> tuple[Tensor, Tensor]:
    return pairs_of_unlike(labels, seeded_generator(seed, "half way"))


def _views(small: tuple[Tensor, Tensor], seed: int) -> dict[str, Tensor]:
    """Images made of the small set alone: as they are, half way, masked."""
    images, labels = small
    one, two = _pairs(labels, seed)
    rows = images.repeat(-(-300 // len(images)), 1, 1, 1)
    mask = draw_mask(MaskSpec(ratio=0.3), rows, seeded_generator(seed, "mask"))
    return {
        "self": images,
        "half": (images[one] + images[two]) / 2,
        "masked": rows * mask,
    }


def _spec(usual: TrainSpec, change: dict[str, Any]) -> TrainSpec:
    known = {"n_seeds", "epochs", "batch_size"} | ({"width"} if "network" not in change else set())
    return TrainSpec.model_validate({**usual.model_dump(include=known), **change})


def _trained(
    case: Case,
    small: tuple[Tensor, Tensor],
    facts: DatasetFacts,
    spec: TrainSpec,
    name: str,
) -> nn.Module:
    network = build_network(spec, facts, seeded_generator(case.seed, name, "init"))
    train_network(network, *small, spec, generator=seeded_generator(case.seed, name, "order"))
    return network


def _folds(
    case: Case, small: tuple[Tensor, Tensor], facts: DatasetFacts, usual: TrainSpec
) -> list[dict[str, Tensor]]:
    """The first network's folds: logits on what each leaves out, and on views of the rest."""
    images, labels = small
    n_folds = 3
    fold_of = fold_of_each(labels, n_folds, case.seed)
    found = []
    for fold in range(n_folds):
        kept, held = fold_of != fold, fold_of == fold
        rest = images[kept], labels[kept]
        network = _trained(case, rest, facts, usual, f"fold {fold}")
        one = {view: _predict(network, x) for view, x in _views(rest, case.seed).items()}
        one |= {"out": _predict(network, images[held]), "labels": labels[held]}
        one["half_labels"] = torch.stack([rest[1][k] for k in _pairs(rest[1], case.seed)])
        found.append(one)
    return found


def _predict(network: nn.Module, images: Tensor) -> Tensor:
    return predict_logits(network, images, batch_size=BATCH_SIZE)
