"""Logits on test beside a report, bounded: what its calibration explorer computes from."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from worker.trainer.report.training_sets import TrainingSet

TEST_LOGITS = "test_logits.safetensors"
FORMAT = "ddcal test logits 1"
MOST_NETWORKS = 8
MOST_VALUES = 1_000_000
"""Logits of one network; beyond it images are left out, evenly over all."""
MOST_PICTURES, MOST_PICTURE_BYTES = 96, 2_000_000


def write_test_logits(
    path: Path,
    groups: Sequence[TrainingSet],
    logits: Mapping[str, Tensor],
    labels: Tensor,
    images: Tensor | None,
) -> None:
    """Write the logits of the first network of each of the first training sets.

    The file has `labels` int32 (n,), `images` int32 (n,), the places of the n among all test
    images, and `logits.I` float32 (n, K) of training set I. Of the most confident mistakes it has
    `pictured` int32 (m,), their places, and `pictures` uint8 (m, C, H, W).

    Args:
        path: of the file.
        groups: the training sets.
        logits: float32 (N, K) of each network, by model id.
        labels: int64 (N,).
        images: uint8 (N, C, H, W); None where there are none, as of uploaded logits.
    """
    firsts = {
        place: logits[group.models[0].id] for place, group in enumerate(groups[:MOST_NETWORKS])
    }
    chosen = _chosen(len(labels), next(iter(firsts.values())).shape[1])
    kept = {place: one[chosen].float().contiguous() for place, one in firsts.items()}
    tensors = {
        "labels": labels[chosen].int(),
        "images": chosen.int(),
        **{f"logits.{place}": one for place, one in kept.items()},
    }
    if images is not None:
        pictured = chosen[_most_confident_mistakes(list(kept.values()), labels[chosen])]
        pictured = pictured[: min(MOST_PICTURES, MOST_PICTURE_BYTES // images[0].numel())]
        tensors |= {"pictured": pictured.int(), "pictures": images[pictured].contiguous()}
    save_file(tensors, path, metadata={"format": FORMAT})


def _chosen(n_images: int, n_classes: int) -> Tensor:
    """Places of the images that are kept, int64, rising: all, or as many as there is room for."""
    n_kept = max(min(n_images, MOST_VALUES // n_classes), 1)
    return torch.arange(n_kept) * n_images // n_kept


def _most_confident_mistakes(logits: Sequence[Tensor], labels: Tensor) -> Tensor:
    """Places of the mistakes of several networks, int64: the most confident of each come first."""
    places: list[list[int]] = []
    for one in logits:
        wrong = (one.argmax(1) != labels).nonzero().flatten()
        confidence = torch.softmax(one[wrong].double(), 1).amax(1)
        ranked = wrong[confidence.argsort(descending=True, stable=True)]
        places.append(ranked[:MOST_PICTURES].tolist())
    longest = max(map(len, places), default=0)
    in_turn = (own[rank] for rank in range(longest) for own in places if rank < len(own))
    return torch.tensor(list(dict.fromkeys(in_turn)), dtype=torch.int64)
