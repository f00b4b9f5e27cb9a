"""What a kind hands back: results with their files."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch

from ddcal_core.formats.manifests import MadeWith
from ddcal_core.specs.results import Resource

MEDIA_TYPES = {
    ".json": "application/json",
    ".csv": "text/csv",
    ".gz": "application/gzip",
    ".html": "text/html",
    ".png": "image/png",
    ".npz": "application/x-npz",
    ".onnx": "application/octet-stream",
    ".md": "text/markdown",
    ".parquet": "application/octet-stream",
    ".pt": "application/octet-stream",
    ".tar": "application/x-tar",
    ".zip": "application/zip",
    ".pt2": "application/x-torch-export",
    ".safetensors": "application/x-safetensors",
}


@dataclass(frozen=True)
class Output:
    """One result of a job.

    Attributes:
        resource: what it is; "export" for a file more of a result that there is.
        key: unlike any other output's of the job.
        values: what is stored of it; finite JSON.
        files: existing files, in the job's work folder; the name is the file's own.
        name: what to call it; None for the name of its job.
    """

    resource: Resource | Literal["export"]
    key: str
    values: Mapping[str, Any]
    files: tuple[Path, ...]
    name: str | None = None


def made_with(device: torch.device) -> MadeWith:
    """Say what a result is computed with."""
    return MadeWith(torch=torch.__version__, device=device.type, threads=torch.get_num_threads())
