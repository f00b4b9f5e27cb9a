"""A distilled set in the files that the code of DC and of MTT writes and reads, by torch.save."""

import io
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor

from ddcal_core.data.input_space import Zca
from ddcal_core.errors import InvalidDataError
from ddcal_core.formats.exports.archives import write_zip
from ddcal_core.formats.exports.exported_set import ExportedSet


def write_dc_file(path: Path, exported: ExportedSet) -> None:
    """Write what main.py of DC, DSA and DM saves, of one experiment without measured accuracies.

    Args:
        path: of the .pt.
        exported: with hard labels.

    Raises:
        InvalidDataError: its labels are soft, which that code has no place for.
    """
    if exported.stored.soft_labels is not None:
        raise InvalidDataError("wanted hard labels for the structure of DC; got soft ones")
    data = [[_plain(exported.stored.images), _plain(exported.stored.labels)]]
    path.write_bytes(_saved({"data": data, "accs_all_exps": {}}))


def write_mtt_zip(path: Path, exported: ExportedSet) -> None:
    """Write images_best.pt and labels_best.pt, as distill.py of MTT and TESLA saves them, in a zip.

    A set whitened as MTT does it has images_zca_best.pt besides: its pixels, not clipped.
    """
    write_zip(path, _mtt_members(exported))


def _mtt_members(exported: ExportedSet) -> Iterator[tuple[str, bytes]]:
    stored = exported.stored
    labels = stored.labels if stored.soft_labels is None else stored.soft_labels
    yield "images_best.pt", _saved(_plain(stored.images))
    yield "labels_best.pt", _saved(_plain(labels))
    if isinstance(exported.space, Zca):
        yield "images_zca_best.pt", _saved(_plain(exported.space.back(stored.images)))


def _plain(tensor: Tensor) -> Tensor:
    """Give a tensor whose storage holds it alone: torch.save writes the whole storage."""
    return tensor.detach().contiguous().clone()


def _saved(value: object) -> bytes:
    buffer = io.BytesIO()
    torch.save(value, buffer)
    return buffer.getvalue()
