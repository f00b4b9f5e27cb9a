"""Files of tensors, read."""

from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from ddcal_core.errors import InvalidDataError


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Read a safetensors file.

    Raises:
        InvalidDataError: it is none.
    """
    try:
        return load_file(path)
    except SafetensorError as error:
        raise InvalidDataError(f"wanted a safetensors file in {path.name}; got: {error}") from error
