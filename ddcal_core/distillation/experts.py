"""Experts: networks trained on real images, their parameters kept after each epoch, on disk."""

import hashlib
import json
import math
import os
import struct
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn
from torch.nn import functional

from ddcal_core.data.network_images import NetworkImages
from ddcal_core.distillation.images import chunks
from ddcal_core.distillation.unrolled_training import flat_parameters
from ddcal_core.errors import DivergedError, InvalidDataError
from ddcal_core.networks import build_network
from ddcal_core.progress import Progress, ProgressCallback, ignore_progress
from ddcal_core.seeding import seeded_generator
from ddcal_core.specs.experts import ExpertSpec
from ddcal_core.specs.facts import DatasetFacts
from ddcal_core.specs.methods.method import MethodSpec
from ddcal_core.training.augmentation import augment_each
from ddcal_core.training.end_loss import check_end_loss

PHASE = "experts"
FORMAT = "ddcal experts 1"
SNAPSHOTS = "snapshots"
DIGESTS = "digests"
_DIGEST_BYTES = 32
_ALIGNMENT = 8  # the format wants tensors to begin at a multiple of it


class ExpertSet:
    """Trajectories of experts in a file, read one snapshot at a time.

    Args:
        path: as `record_experts` has written it.

    Raises:
        InvalidDataError: it is cut short or holds no experts.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            with safe_open(path, "pt") as file:
                record: dict[str, Any] = json.loads((file.metadata() or {}).get("experts", "{}"))
                shape = (
                    file.get_slice(SNAPSHOTS).get_shape() if record.get("format") == FORMAT else []
                )
        except SafetensorError as error:
            raise InvalidDataError(f"wanted experts in {path.name}; got: {error}") from error
        if len(shape) != 3:
            raise InvalidDataError(
                f"wanted {FORMAT!r} in {path.name}; got {record.get('format', 'none')!r}"
            )
        self.record = record
        self.n_experts, n_snapshots, self.n_parameters = shape
        self.n_epochs = n_snapshots - 1

    def snapshot(self, expert: int, epoch: int) -> Tensor:
        """The parameters of an expert after so many epochs.

        Args:
            expert: from 0 to `n_experts` - 1.
            epoch: from 0, before training, to `n_epochs`.

        Returns:
            float32 of shape (P,), P = `n_parameters`, in the order of `FlatNetwork`; a copy, on
            the CPU.
        """
        with safe_open(self._path, "pt") as file:
            rows: Tensor = file.get_slice(SNAPSHOTS)[expert : expert + 1, epoch : epoch + 1]
        return rows[0, 0].clone()


def open_experts(path: Path, wanted: Mapping[str, Any]) -> ExpertSet:
    """Open experts and check that they fit a network, data set and split.

    Args:
        path: of the file.
        wanted: required values of their record, JSON by name (see `network_record`).

    Raises:
        InvalidDataError: the file holds no experts, or its record has other values.
    """
    experts = ExpertSet(path)
    for name, value in wanted.items():
        for place, want, got in _differences(name, value, experts.record.get(name)):
            raise InvalidDataError(f"wanted experts with {place} {want}; got {got}")
    return experts


def _differences(place: str, wanted: Any, got: Any) -> Iterator[tuple[str, Any, Any]]:  # noqa: ANN401
    """Where two JSON values differ, as deep as both are objects."""
    if isinstance(wanted, Mapping) and isinstance(got, Mapping):
        for name in [*wanted, *(name for name in got if name not in wanted)]:
            yield from _differences(f"{place}.{name}", wanted.get(name), got.get(name))
    elif wanted != got:
        yield place, wanted, got


def network_record(spec: ExpertSpec | MethodSpec, facts: DatasetFacts) -> dict[str, Any]:
    """What a record says of network and data set: trajectories of others are of no use."""
    return {
        "network": {"name": "convnet", "width": spec.width, "depth": spec.depth},
        "facts": facts.model_dump(mode="json"),
    }


@dataclass(frozen=True, eq=False)
class ExpertTraining:
    """Experts to be trained, one after the other.

    Each epoch takes `images_per_epoch` random images in random order; the last batch may be
    smaller. Plain SGD at a constant learning rate, per-sample augmentation.

    Attributes:
        images: float32 (N, C, H, W), N >= 1, real, network-input space; all is computed on their
            device.
        labels: int64 (N,), 0 to K - 1.
        spec: how many, how long, how.
        facts: image shape and number of classes.
        seed: of all random draws.

    Raises:
        InvalidDataError: there are no images.
    """

    images: NetworkImages
    labels: Tensor
    spec: ExpertSpec
    facts: DatasetFacts
    seed: int

    def __post_init__(self) -> None:
        if len(self.images) == 0:
            raise InvalidDataError("wanted real images to train experts on; got none")

    def n_parameters(self) -> int:
        """Parameters P of an expert; ValueError where the images are too small for the depth."""
        return len(flat_parameters(self._network(0)))

    def trajectories(
        self, *, first: int = 0, on_progress: ProgressCallback = ignore_progress
    ) -> Iterator[Tensor]:
        """Train the experts from one of them on.

        Args:
            first: the expert to begin with; no expert depends on another.
            on_progress: told after each epoch, with its mean loss per image as "loss".

        Yields:
            Of each expert float32 (epochs + 1, P), on the CPU: its parameters before the first
            epoch and after each.

        Raises:
            ValueError: the images are too small for the depth.
            DivergedError: a loss or a parameter is not finite, or an expert's last loss is 10
                times that of guessing; carries the epoch, from 1, over all experts.
        """
        spec = self.spec
        for expert in range(first, spec.n_experts):
            network = self._network(expert)
            optimiser = torch.optim.SGD(
                network.parameters(), lr=spec.lr, momentum=spec.momentum, fused=True
            )
            snapshots = [flat_parameters(network).cpu()]
            for epoch in range(spec.epochs):
                loss = _train_epoch(network, optimiser, self._batches(expert, epoch), spec.width)
                snapshots.append(flat_parameters(network).cpu())
                done = expert * spec.epochs + epoch + 1
                if not math.isfinite(loss) or not bool(snapshots[-1].isfinite().all()):
                    raise DivergedError(done, loss)
                n_all = spec.n_experts * spec.epochs
                on_progress(Progress(phase=PHASE, step=done, steps=n_all, values={"loss": loss}))
                if epoch + 1 == spec.epochs:
                    check_end_loss(done, loss, network, self.images, self.labels)
            yield torch.stack(snapshots)

    def _network(self, expert: int) -> nn.Module:
        generator = seeded_generator(self.seed, PHASE, "network", expert)
        return build_network(self.spec, self.facts, generator).to(self.images.device)

    def _batches(self, expert: int, epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
        """One epoch's images, augmented, and labels, drawn as they are asked for."""
        spec = self.spec
        generator = seeded_generator(self.seed, PHASE, "epoch", expert, epoch)
        order = torch.randperm(len(self.images), generator=generator)[: spec.images_per_epoch]
        for batch in torch.split(order.to(self.images.device), spec.batch_size):
            # MTT's code aligns corners, DC's and DSA's does not.
            seen = augment_each(
                self.images[batch], spec.augmentation, generator, align_corners=True
            )
            yield seen, self.labels[batch]


def _train_epoch(
    network: nn.Module,
    optimiser: torch.optim.Optimizer,
    batches: Iterable[tuple[Tensor, Tensor]],
    width: int,
) -> float:
    """Train in place, each batch in parts that fit a processor's cache; mean loss an image."""
    total, n_images = torch.zeros((), device=next(network.parameters()).device), 0
    for images, labels in batches:
        optimiser.zero_grad()
        parts = chunks(images, width)
        for part, own in zip(parts, torch.split(labels, len(parts[0])), strict=True):
            summed = functional.cross_entropy(network(part), own, reduction="sum")
            torch.autograd.backward(summed / len(images))
            total += summed.detach()
        optimiser.step()
        n_images += len(images)
    # The one read an epoch: on a GPU each makes the host wait.
    return float(total) / n_images


def record_experts(
    path: Path,
    training: ExpertTraining,
    record: Mapping[str, Any],
    *,
    on_progress: ProgressCallback = ignore_progress,
) -> dict[str, Any]:
    """Train experts and write them into one safetensors file, each as soon as it is there.

    Memory is that of one expert, whatever their number. The tensor "digests", uint8 (E, 32), has
    the sha256 of each expert's bytes, zeros of those to come. A file that an earlier call with the
    same arguments has left unfinished is gone on with, after the last expert up to which all have
    the bytes that were written.

    Args:
        path: of the file.
        training: the experts.
        record: what the file says of itself beside how they were trained, network and facts:
            split, input space, ...; JSON values.
        on_progress: told after each epoch.

    Returns:
        All that the file says of itself.

    Raises:
        ValueError: the images are too small for the depth.
        DivergedError: a loss or a parameter is not finite.
    """
    spec, n_parameters = training.spec, training.n_parameters()
    shape = (spec.n_experts, spec.epochs + 1, n_parameters)
    full = {
        "format": FORMAT,
        **record,
        **network_record(spec, training.facts),
        "seed": training.seed,
        "experts": spec.model_dump(mode="json"),
        "n_parameters": n_parameters,
    }
    layout = _Layout(_header(shape, full), spec.n_experts, 4 * math.prod(shape[1:]))
    first = _whole_experts(path, layout)
    with path.open("r+b" if first else "wb") as file:
        # What comes after, an expert that was cut off or is damaged, is trained anew.
        file.write(layout.header)
        file.seek(layout.digest_at(first))
        file.write(bytes(layout.expert_at(0) - layout.digest_at(first)))
        file.truncate(layout.expert_at(first))
        trajectories = training.trajectories(first=first, on_progress=on_progress)
        for expert, trajectory in enumerate(trajectories, start=first):
            content = trajectory.numpy().astype("<f4", copy=False).tobytes()
            file.seek(layout.expert_at(expert))
            file.write(content)
            file.seek(layout.digest_at(expert))
            file.write(hashlib.sha256(content).digest())
            file.flush()
            os.fsync(file.fileno())
    return full


@dataclass(frozen=True)
class _Layout:
    """Where things stand in a file of experts, in bytes: header, digests, experts.

    Written by hand: safetensors' own writer wants all experts in memory at once.
    """

    header: bytes
    n_experts: int
    n_expert_bytes: int

    def digest_at(self, expert: int) -> int:
        return len(self.header) + expert * _DIGEST_BYTES

    def expert_at(self, expert: int) -> int:
        return self.digest_at(self.n_experts) + expert * self.n_expert_bytes


def _whole_experts(path: Path, layout: _Layout) -> int:
    """How many experts a file with this header holds, up to the first cut off or damaged.

    0 if it is another or not there.
    """
    if not path.exists():
        return 0
    # The header holds seed, spec and facts: where it is the same, so are the experts behind it.
    with path.open("rb") as file:
        if file.read(len(layout.header)) != layout.header:
            return 0
        for expert in range(layout.n_experts):
            file.seek(layout.digest_at(expert))
            digest = file.read(_DIGEST_BYTES)
            file.seek(layout.expert_at(expert))
            if hashlib.sha256(file.read(layout.n_expert_bytes)).digest() != digest:
                return expert
    return layout.n_experts


def _header(shape: tuple[int, int, int], record: Mapping[str, Any]) -> bytes:
    """The start of a safetensors file of digests and experts, whose bytes follow it."""
    n_digests = shape[0] * _DIGEST_BYTES
    content = {
        "__metadata__": {"experts": json.dumps(record, allow_nan=False)},
        DIGESTS: {
            "dtype": "U8",
            "shape": (shape[0], _DIGEST_BYTES),
            "data_offsets": [0, n_digests],
        },
        SNAPSHOTS: {
            "dtype": "F32",
            "shape": shape,
            "data_offsets": [n_digests, n_digests + 4 * math.prod(shape)],
        },
    }
    text = json.dumps(content).encode()
    text += b" " * (-len(text) % _ALIGNMENT)
    return struct.pack("<Q", len(text)) + text
