"""The one module that imports torchvision, for its readers of named data sets and its networks.

torchvision's wheel from PyPI has a compiled extension for CUDA builds of torch. Beside a CPU-only
torch it does not load, and `import torchvision` then fails with "operator torchvision::nms does
not exist", because it adds to operators that nobody has defined. We define their schemas first.

CIFAR's files are pickles. torchvision opens one only when its md5 is the published one, which
stands in torchvision's code: a file put in its place by somebody is refused unread.
"""

import ctypes
import importlib.util
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from ddcal_core.data.dataset_facts import Split
from ddcal_core.errors import InvalidDataError

_MISSING_SCHEMAS = {
    "torchvision::nms": "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "torchvision::qnms": "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
}


def _loads_extension() -> bool:
    spec = importlib.util.find_spec("torchvision")
    if spec is None or spec.submodule_search_locations is None:
        return False
    folder = Path(spec.submodule_search_locations[0])
    try:
        for path in folder.glob("_C.*"):
            ctypes.CDLL(str(path))  # registers its operators
    except OSError:
        return False
    return hasattr(torch.ops.torchvision, "nms")


def _define_missing_operators() -> None:
    if _loads_extension():
        return
    for name, schema in _MISSING_SCHEMAS.items():
        torch.library.define(name, schema)


_define_missing_operators()

# Only now can torchvision be imported.
from torchvision import datasets, models  # noqa: E402

_READERS = {
    "mnist": datasets.MNIST,
    "fashion_mnist": datasets.FashionMNIST,
    "cifar10": datasets.CIFAR10,
    "cifar100": datasets.CIFAR100,
    "svhn": datasets.SVHN,
}


def read_torchvision(
    name: str, split: Split, folder: Path, allow_download: bool
) -> tuple[Tensor, Tensor]:
    """Read a data set that torchvision knows.

    Args:
        name: "mnist", "fashion_mnist", "cifar10", "cifar100" (its fine labels) or "svhn" (cropped
            digits, without the extra images).
        split: "train" or "test".
        folder: where torchvision's own files and sub-folders lie (MNIST/raw, cifar-10-batches-py,
            cifar-100-python, train_32x32.mat).
        allow_download: fetch files that are missing.

    Returns:
        Images uint8 (N, C, H, W), 0 to 255, and labels int64 (N,).

    Raises:
        InvalidDataError: the files are not there, or not those that torchvision expects.
    """
    reader = _READERS[name]
    which = {"split": split} if name == "svhn" else {"train": split == "train"}
    try:
        dataset = reader(root=str(folder), download=allow_download, **which)
    except (RuntimeError, OSError, ValueError, AssertionError, LookupError) as error:
        raise InvalidDataError(
            f"{name} ({split}) could not be read from {folder}, where torchvision's files were "
            f"wanted{'' if allow_download else ' (downloads are off)'}: {error}"
        ) from error
    if name == "svhn":  # already channels first
        return as_tensors(dataset.data.transpose(0, 2, 3, 1), dataset.labels.tolist())
    return as_tensors(np.asarray(dataset.data), dataset.targets)


def as_tensors(
    pixels: npt.NDArray[np.uint8], targets: Sequence[int] | Tensor
) -> tuple[Tensor, Tensor]:
    """Pixels and labels as the core has them, from how torchvision keeps them.

    Args:
        pixels: uint8 (N, H, W) or (N, H, W, C).
        targets: N labels.

    Returns:
        Images uint8 (N, C, H, W), contiguous, and labels int64 (N,).
    """
    images = torch.from_numpy(pixels)
    images = images.unsqueeze(1) if images.ndim == 3 else images.permute(0, 3, 1, 2)
    return images.contiguous(), torch.as_tensor(targets, dtype=torch.int64)


def torchvision_network(name: str, n_classes: int) -> nn.Module:
    """A network of torchvision whose parameters are nowhere yet, on the meta device.

    Args:
        name: "torchvision." and the name of its constructor in torchvision.models.
        n_classes: K, of its last layer.
    """
    constructor = getattr(models, name.removeprefix("torchvision."))
    with torch.device("meta"):
        network: nn.Module = constructor(weights=None, num_classes=n_classes)
    return network
