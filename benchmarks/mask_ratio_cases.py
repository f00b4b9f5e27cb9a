"""The cases of `benchmarks.mask_ratio`: train once, keep every logit that a candidate may want.

A case is a data set, a source of the small set (random real images, or DM with few iterations),
images per class and a seed. Its file holds logits alone, so that all candidates are compared on
the same networks.
"""

import io
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn.utils import parameters_to_vector

from ddcal_core.calibration.temperature import fit_temperature
from ddcal_core.data.dataset_facts import NAMED_DATASETS
from ddcal_core.data.input_space import Standard, enter
from ddcal_core.data.labelled import load_named, random_subset
from ddcal_core.distillation.dm import DistributionMatching
from ddcal_core.distillation.loop import distill
from ddcal_core.networks import build_network
from ddcal_core.seeding import seeded_generator
from ddcal_core.specs.facts import DatasetFacts
from ddcal_core.specs.masks import MaskSpec
from ddcal_core.specs.methods.dm import DmSpec
from ddcal_core.specs.training import TrainSpec
from ddcal_core.training.masking import draw_mask
from ddcal_core.training.train import predict_logits, train_network

RATIOS = (0.0, 0.1, 0.2, 0.3, 0.4, *(round(0.05 * step, 2) for step in range(10, 20)), 0.98)
FOLD_RATIOS = (0.0, 0.3, 0.4, 0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95, 0.98)
MIX_SHARES = (0.5, 0.525, 0.55, 0.575, 0.6, 0.625, 0.65, 0.7, 0.8)
N_POOL, N_REAL, N_TEST = 10_000, 1_000, 2_500
N_MASKED, N_REAL_MASKED, N_FOLD_MASKED, N_MIXED = 1_000, 500, 300, 500
BATCH_SIZE = 64  # on a CPU large batches leave the cache: half the speed
WIDTH = 32
DM = {"iterations": 50, "batch_real": 32, "width": WIDTH}


@dataclass(frozen=True)
class Case:
    """What one file of logits is about.

    Attributes:
        dataset: a named data set.
        source: "random" or "dm".
        images_per_class: of the small set.
        seed: of the split, the small set and all networks.
    """

    dataset: str
    source: str
    images_per_class: int
    seed: int

    @property
    def name(self) -> str:
        """The case in one word, the stem of its file."""
        return f"{self.dataset}-{self.source}-{self.images_per_class}-{self.seed}"


@dataclass(frozen=True, eq=False)
class RealImages:
    """Real images in network-input space, drawn apart from each other.

    Attributes:
        pool: images and labels that the small set is made of.
        real: further ones, for the candidates that see real images.
        test: for the ECE alone.
    """

    pool: tuple[Tensor, Tensor]
    real: tuple[Tensor, Tensor]
    test: tuple[Tensor, Tensor]


def read_real(dataset: str, folder: Path, cache: Path, seed: int) -> RealImages:
    """Read and split one data set; CIFAR-10's zip of JPEGs is decoded once, into `cache`."""
    facts = NAMED_DATASETS[dataset]
    (train, train_labels), (test, test_labels) = read_pixels(dataset, folder, cache)
    order = torch.randperm(len(train), generator=seeded_generator(seed, "split"))
    n_real = min(N_REAL, len(train) // 3)
    real, pool = order[:n_real], order[n_real : n_real + N_POOL]
    tested = torch.randperm(len(test), generator=seeded_generator(0, "test"))[:N_TEST]
    space = Standard(facts)
    return RealImages(
        (enter(space, train[pool]), train_labels[pool]),
        (enter(space, train[real]), train_labels[real]),
        (enter(space, test[tested]), test_labels[tested]),
    )


def read_pixels(
    dataset: str, folder: Path, cache: Path
) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """Read (images, labels) of train and test as they are: uint8 (N, C, H, W), int64 (N,)."""
    if dataset == "digits":
        train = load_named("digits", "train", folder, allow_download=False)
        test = load_named("digits", "test", folder, allow_download=False)
        return (train.images, train.labels), (test.images, test.labels)
    path = folder / f"{dataset}.npz"
    if dataset == "cifar10":
        path = cache / "cifar10_jpeg.npz"
        if not path.exists():
            _decode_cifar(folder / "cifar10_jpeg.zip", path)
    with np.load(path) as arrays:
        parts = {key: torch.from_numpy(arrays[key]) for key in arrays.files}
    images = {s: parts[f"x_{s}"] for s in ("train", "test")}
    images = {s: x if x.ndim == 4 else x.unsqueeze(1) for s, x in images.items()}
    return (
        (images["train"], parts["y_train"].long()),
        (images["test"], parts["y_test"].long()),
    )


def _decode_cifar(source: Path, target: Path, most: int = 15_000) -> None:
    arrays: dict[str, np.ndarray] = {}
    classes = NAMED_DATASETS["cifar10"].class_names
    with zipfile.ZipFile(source) as archive:
        for split in ("train", "test"):
            names = [
                n for n in archive.namelist() if n.startswith(f"{split}/") and n[-4:] == ".jpg"
            ]
            names = sorted(names, key=lambda name: Path(name).name)[:most]
            decoded = [np.asarray(Image.open(io.BytesIO(archive.read(n)))) for n in names]
            arrays[f"x_{split}"] = np.stack(decoded).transpose(0, 3, 1, 2)
            arrays[f"y_{split}"] = np.array([classes.index(n.split("/")[1]) for n in names])
    target.parent.mkdir(parents=True, exist_ok=True)
    np.savez(target, **arrays)


def make_case(case: Case, images: RealImages, path: Path) -> None:
    """Make the small set, train its networks and write their logits to `path`."""
    facts = NAMED_DATASETS[case.dataset]
    small = small_set(case, images, facts)
    arrays = {
        "images": small[0],
        "labels": small[1],
        "real_labels": images.real[1],
        "test_labels": images.test[1],
    }
    first, second = (_trained(case, small, facts, f"network {k}") for k in (0, 1))
    arrays["test"] = _predict(first, images.test[0])
    arrays["small"] = _predict(first, small[0])
    for name, network in (("first", first), ("second", second)):
        arrays[f"real_{name}"] = _predict(network, images.real[0])
        arrays[f"parameters_{name}"] = parameters_to_vector(network.parameters()).detach()
    arrays["masked_first"] = _masked_logits(first, small[0], RATIOS, N_MASKED, case.seed)
    arrays["masked_second"] = _masked_logits(
        second, small[0], FOLD_RATIOS, N_FOLD_MASKED, case.seed
    )
    arrays["real_masked"] = _masked_logits(
        first, images.real[0][:N_REAL_MASKED], FOLD_RATIOS, 1, case.seed
    )
    arrays |= _mixed(first, small, "small", case.seed)
    pseudo = images.real[0], arrays["real_first"].argmax(1)
    arrays |= _mixed(first, pseudo, "real", case.seed)
    if case.images_per_class > 1:
        arrays |= _fold_logits(case, small, images.real[0], facts)
    np.savez(path, **{key: value.numpy() for key, value in arrays.items()})


def small_set(case: Case, images: RealImages, facts: DatasetFacts) -> tuple[Tensor, Tensor]:
    """Draw or distill the images and labels of a case's small set."""
    pool, labels = images.pool
    if case.source == "dm":
        spec = DmSpec(method="dm", images_per_class=case.images_per_class, **DM)
        backbone = DistributionMatching(pool, labels, spec, facts, seed=case.seed)
        made = distill(backbone, n_steps=spec.iterations).distilled
        return made.images, made.labels
    chosen = random_subset(
        labels, case.images_per_class, facts.n_classes, seeded_generator(case.seed, "random set")
    )
    return pool[chosen], labels[chosen]


def train_spec(n_images: int) -> TrainSpec:
    """150 epochs of a handful of images, 100 of a hundred, 50 of more; batches of 64."""
    epochs = 150 if n_images <= BATCH_SIZE else 100 if n_images <= 256 else 50
    return TrainSpec(width=WIDTH, epochs=epochs, batch_size=BATCH_SIZE)


def _predict(network: nn.Module, images: Tensor) -> Tensor:
    return predict_logits(network, images, batch_size=BATCH_SIZE)


def _trained(
    case: Case, small: tuple[Tensor, Tensor], facts: DatasetFacts, purpose: str
) -> nn.Module:
    spec = train_spec(case.images_per_class * facts.n_classes)
    network = build_network(spec, facts, seeded_generator(case.seed, purpose, "init"))
    train_network(network, *small, spec, generator=seeded_generator(case.seed, purpose, "order"))
    return network


def _masked_logits(
    network: nn.Module, images: Tensor, ratios: tuple[float, ...], n_rows: int, seed: int
) -> Tensor:
    """(R, D * N, K): at least n_rows of them at each ratio, as many draws of every image."""
    n_draws = -(-n_rows // len(images))
    rows = images.repeat(n_draws, 1, 1, 1)
    found = []
    for ratio in ratios:
        mask = draw_mask(MaskSpec(ratio=ratio), rows, seeded_generator(seed, "mask"))
        found.append(_predict(network, rows * mask))
    return torch.stack(found)


def _mixed(
    network: nn.Module, images: tuple[Tensor, Tensor], name: str, seed: int
) -> dict[str, Tensor]:
    """Logits of share * image + (1 - share) * another of another label; the first one's label."""
    pixels, labels = images
    generator = seeded_generator(seed, "mix")
    one, two = torch.randint(len(labels), (2, 4 * N_MASKED), generator=generator)
    differ = labels[one] != labels[two]
    one, two = one[differ][:N_MIXED], two[differ][:N_MIXED]
    logits = [_predict(network, s * pixels[one] + (1 - s) * pixels[two]) for s in MIX_SHARES]
    return {f"mixed_{name}": torch.stack(logits), f"mixed_{name}_labels": labels[one]}


def _fold_logits(
    case: Case, small: tuple[Tensor, Tensor], real: Tensor, facts: DatasetFacts
) -> dict[str, Tensor]:
    """Out-of-fold logits of the small set, and what the folds' networks say of other images."""
    images, labels = small
    n_folds = 5 if case.images_per_class <= 10 else 3
    fold_of = _folds(labels, n_folds, case.seed)
    out = torch.zeros(len(labels), facts.n_classes)
    on_real, temperatures, mix_temperatures, parameters = [], [], [], []
    for fold in range(n_folds):
        kept, held = fold_of != fold, fold_of == fold
        network = _trained(case, (images[kept], labels[kept]), facts, f"fold {fold}")
        out[held] = _predict(network, images[held])
        on_real.append(_predict(network, real))
        masked = _masked_logits(network, images[kept], FOLD_RATIOS, N_FOLD_MASKED, case.seed)
        own = labels[kept].repeat(masked.shape[1] // int(kept.sum()))
        temperatures.append(_fitted(masked, own))
        mixed = _mixed(network, (images[kept], labels[kept]), "", case.seed)
        mix_temperatures.append(_fitted(mixed["mixed_"], mixed["mixed__labels"]))
        parameters.append(parameters_to_vector(network.parameters()).detach())
    return {
        "fold_of": fold_of,
        "fold_out": out,
        "fold_real": torch.stack(on_real),
        "fold_masked_temperature": torch.stack(temperatures),
        "fold_mixed_temperature": torch.stack(mix_temperatures),
        "fold_parameters": torch.stack(parameters),
    }


def _fitted(logits: Tensor, labels: Tensor) -> Tensor:
    fits = [fit_temperature(rows, labels).temperature for rows in logits]
    return torch.tensor([np.nan if one is None else one for one in fits], dtype=torch.float64)


def _folds(labels: Tensor, n_folds: int, seed: int) -> Tensor:
    """A fold for each image, every class spread evenly over them."""
    fold_of = torch.zeros_like(labels)
    for label in labels.unique().tolist():
        index = (labels == label).nonzero().squeeze(1)
        order = torch.randperm(len(index), generator=seeded_generator(seed, "folds", label))
        fold_of[index[order]] = torch.arange(len(index)) % n_folds
    return fold_of
