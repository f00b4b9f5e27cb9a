"""Ways to find a temperature for one case of `benchmarks.mask_ratio_cases`, from its logits."""

import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils import vector_to_parameters

from benchmarks.mask_ratio_cases import FOLD_RATIOS, MIX_SHARES, RATIOS, Case, train_spec
from ddcal_core.calibration.left_out import likeliest_factor
from ddcal_core.calibration.temperature import fit_temperature
from ddcal_core.calibration.yardstick import half_way_temperature
from ddcal_core.data.dataset_facts import NAMED_DATASETS
from ddcal_core.metrics import accuracy, expected_calibration_error, negative_log_likelihood
from ddcal_core.networks import build_network
from ddcal_core.seeding import seeded_generator

Arrays = Mapping[str, Tensor]
BEST_RATIO, WITH_LABELS, OURS = "best ratio", "T, 1,000 labels", "**half way and folds**"
FEW = 100
NEVER = 1e6  # stands for T -> infinity


def read_case(path: Path) -> dict[str, Tensor]:
    """The arrays of one case."""
    with np.load(path) as arrays:
        return {key: torch.from_numpy(arrays[key]) for key in arrays.files}


def test_ece(arrays: Arrays, temperature: float | None) -> float:
    """ECE on the test images; without a temperature its limit for T -> 0."""
    if temperature is None:
        return 1 - accuracy(arrays["test"], arrays["test_labels"])
    probabilities = torch.softmax(arrays["test"].double() / temperature, 1)
    return expected_calibration_error(probabilities, arrays["test_labels"])


def temperatures(case: Case, arrays: Arrays) -> dict[str, float | None]:
    """What each candidate says; those that need folds are left out at one image per class."""
    masked = [_fitted(logits, arrays["labels"]) for logits in arrays["masked_first"]]
    found = _with_labels(arrays, masked) | _fixed(arrays, masked) | _unlabelled(arrays)
    half_way = _half_way(case, arrays, "parameters_first")
    found["half way alone"] = half_way
    found["factor carried by the set"] = _carried(case, arrays, half_way)
    if "fold_out" in arrays:
        found |= _folded(arrays, masked)
        found[OURS] = _ours(case, arrays, half_way)
    else:
        found[OURS] = half_way
    return found


def left_out_accuracy(arrays: Arrays) -> float | None:
    """Of the folds' networks on the images left out."""
    if "fold_out" not in arrays:
        return None
    return accuracy(arrays["fold_out"], arrays["labels"])


def best_ratio(arrays: Arrays) -> float:
    """The mask ratio of least ECE on the test images: what no method can know."""
    masked = [_fitted(logits, arrays["labels"]) for logits in arrays["masked_first"]]
    return RATIOS[int(np.argmin([test_ece(arrays, one) for one in masked]))]


def masked_real(arrays: Arrays) -> list[tuple[float, float, float, float]]:
    """MTS on labelled real images: one tuple a ratio of `FOLD_RATIOS`, the first unmasked.

    Ratio, test ECE, mean largest logit (rows centred) and its coefficient of variation, the last
    two over their unmasked values.
    """
    found: list[tuple[float, float]] = []
    ece: list[float] = []
    for logits in arrays["real_masked"]:
        ece.append(test_ece(arrays, _fitted(logits, arrays["real_labels"][: len(logits)])))
        largest = (logits - logits.mean(1, keepdim=True)).amax(1).double()
        found.append((float(largest.mean()), float(largest.std() / largest.mean())))
    size, spread = found[0]
    return [
        (ratio, one, own[0] / size, own[1] / spread)
        for ratio, one, own in zip(FOLD_RATIOS, ece, found, strict=True)
    ]


def _fitted(logits: Tensor, labels: Tensor) -> float | None:
    fit = fit_temperature(logits, labels.repeat(len(logits) // len(labels)))
    return NEVER if fit.status == "worse_than_chance" else fit.temperature


def _nll(logits: Tensor, labels: Tensor, temperature: float | None) -> float:
    if temperature is None or math.isnan(temperature):
        return math.inf
    return negative_log_likelihood(logits, labels, temperature)


def _with_labels(arrays: Arrays, masked: list[float | None]) -> dict[str, float | None]:
    logits, labels = arrays["real_first"], arrays["real_labels"]
    found: dict[str, float | None] = {
        "none": 1.0,
        WITH_LABELS: _fitted(logits, labels),
        "T, 100 labels": _fitted(logits[:FEW], labels[:FEW]),
        BEST_RATIO: min(masked, key=lambda one: test_ece(arrays, one)),
    }
    for n in (FEW, len(labels)):
        name = "ratio, 100 labels" if n == FEW else "ratio, 1,000 labels"
        found[name] = min(masked, key=lambda one, n=n: _nll(logits[:n], labels[:n], one))
    return found


def _fixed(arrays: Arrays, masked: list[float | None]) -> dict[str, float | None]:
    fixed = {f"ratio {r}": masked[RATIOS.index(r)] for r in (0.7, 0.9)}
    for share in (0.55, 0.6):
        place = MIX_SHARES.index(share)
        fixed[f"mix {share}"] = _fitted(arrays["mixed_small"][place], arrays["mixed_small_labels"])
    return fixed


def _unlabelled(arrays: Arrays) -> dict[str, float | None]:
    """Real images without their labels: agreement of seeds, and mixtures labelled by the network.

    The mixtures are those of pseudo-calibration (Hu et al., ICML 2024), share 0.6 for its 0.65.
    """
    logits, other = arrays["real_first"], arrays["real_second"]
    agreement = float((logits.argmax(1) == other.argmax(1)).double().mean())
    found: dict[str, float | None] = {"seeds agree (real)": _of_confidence(logits, agreement)}
    mixed = arrays["mixed_real"][MIX_SHARES.index(0.6)]
    found["pseudo-labels mixed (real)"] = _fitted(mixed, arrays["mixed_real_labels"])
    if "fold_real" in arrays:
        votes = arrays["fold_real"].argmax(2)
        one, two = torch.combinations(torch.arange(len(votes))).T
        agreement = float((votes[one] == votes[two]).double().mean())
        found["folds agree (real)"] = _of_confidence(logits, agreement)
        out = accuracy(arrays["fold_out"], arrays["labels"])
        found["left-out accuracy (real)"] = _of_confidence(logits, out)
    return found


def _of_confidence(logits: Tensor, wanted: float) -> float:
    """The T at which the mean confidence is what is wanted, between e^-8 and e^8."""
    low, high = -8.0, 8.0
    for _ in range(40):
        middle = (low + high) / 2
        confidence = torch.softmax(logits.double() / math.exp(middle), 1).amax(1).mean()
        low, high = (middle, high) if float(confidence) > wanted else (low, middle)
    return math.exp(high)


def _folded(arrays: Arrays, masked: list[float | None]) -> dict[str, float | None]:
    out, labels, fold_of = arrays["fold_out"], arrays["labels"], arrays["fold_of"]
    by_ratio = arrays["fold_masked_temperature"].T.tolist()

    def cost(fold_temperatures: list[float]) -> float:
        parts = [
            _nll(out[fold_of == fold], labels[fold_of == fold], one)
            for fold, one in enumerate(fold_temperatures)
        ]
        return sum(parts)

    costs = [cost(one) for one in by_ratio]
    chosen = FOLD_RATIOS[int(np.argmin(costs))]
    return {
        "folds: T of left-out images": _fitted(out, labels),
        "folds: ratio": masked[RATIOS.index(chosen)],
    }


def _ours(case: Case, arrays: Arrays, half_way: float | None) -> float | None:
    """As `temperature_without_labels` of ddcal_core, on networks trained before."""
    labels, fold_of = arrays["labels"], arrays["fold_of"]
    scaled = arrays["fold_out"].double()
    for fold, parameters in enumerate(arrays["fold_parameters"]):
        kept = fold_of != fold
        own = arrays["images"][kept], labels[kept]
        scale = half_way_temperature(_network(case, parameters), *own, seed=case.seed).temperature
        scaled[~kept] /= scale or half_way or 1.0
    if half_way is None or fit_temperature(scaled, labels).status == "worse_than_chance":
        return half_way
    return half_way * likeliest_factor(scaled, labels, "half_way")


def _half_way(case: Case, arrays: Arrays, key: str) -> float | None:
    network = _network(case, arrays[key])
    fit = half_way_temperature(network, arrays["images"], arrays["labels"], seed=case.seed)
    return fit.temperature


def _carried(case: Case, arrays: Arrays, half_way: float | None) -> float | None:
    """The factor as the second network and labelled real images tell it."""
    other = _half_way(case, arrays, "parameters_second")
    fitted = _fitted(arrays["real_second"], arrays["real_labels"])
    if other is None or fitted is None or half_way is None:
        return None
    return half_way * fitted / other


def _network(case: Case, parameters: Tensor) -> nn.Module:
    facts = NAMED_DATASETS[case.dataset]
    spec = train_spec(case.images_per_class * facts.n_classes)
    network = build_network(spec, facts, seeded_generator(0, "network"))
    vector_to_parameters(parameters, network.parameters())
    return network
