import struct
import subprocess
import sys

import numpy as np
import pytest
import torch

from ddcal_core.data import load_named
from ddcal_core.errors import InvalidDataError
from ddcal_core.torchvision_readers import as_tensors

FOLDERS = {"mnist": "MNIST", "fashion_mnist": "FashionMNIST"}


def write_idx(path, array):
    """Write an array as LeCun's idx format has it: magic, big-endian sizes, bytes."""
    magic = struct.pack(">BBBB", 0, 0, 8, array.ndim)
    path.write_bytes(magic + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes())


def write_mnist_like(folder, prefix, images, labels):
    """Write one split in torchvision's layout."""
    folder.mkdir(parents=True, exist_ok=True)
    write_idx(folder / f"{prefix}-images-idx3-ubyte", images)
    write_idx(folder / f"{prefix}-labels-idx1-ubyte", labels)


@pytest.mark.parametrize("name", sorted(FOLDERS))
def test_mnist_files_are_read(tmp_path, name):
    """Both splits of torchvision's folder layout come back pixel by pixel, with one channel."""
    generator = np.random.default_rng(0)
    written = {}
    for split, prefix, n in (("train", "train", 5), ("test", "t10k", 3)):
        images = generator.integers(0, 256, (n, 28, 28), dtype=np.uint8)
        labels = generator.integers(0, 10, n, dtype=np.uint8)
        write_mnist_like(tmp_path / FOLDERS[name] / "raw", prefix, images, labels)
        written[split] = images, labels
    for split, (images, labels) in written.items():
        read = load_named(name, split, tmp_path, False)
        assert torch.equal(read.images, torch.from_numpy(images)[:, None])
        assert read.labels.tolist() == labels.tolist()


@pytest.mark.parametrize("name", ["mnist", "fashion_mnist", "cifar10"])
@pytest.mark.parametrize("split", ["train", "test"])
def test_missing_files_are_told(tmp_path, name, split):
    """Name, split, folder and that downloads are off stand in the message; nothing is fetched."""
    wanted = rf"{name} \({split}\) could not be read from .*\(downloads are off\)"
    with pytest.raises(InvalidDataError, match=wanted):
        load_named(name, split, tmp_path, False)
    assert list(tmp_path.iterdir()) == []


def test_damaged_mnist_files_are_told(tmp_path):
    """A file cut short is refused, not read as fewer images."""
    folder = tmp_path / "MNIST" / "raw"
    for prefix in ("train", "t10k"):
        write_mnist_like(folder, prefix, np.zeros((4, 28, 28), np.uint8), np.zeros(4, np.uint8))
    path = folder / "train-images-idx3-ubyte"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(InvalidDataError, match="mnist"):
        load_named("mnist", "train", tmp_path, False)


def test_mnist_labels_of_another_number_are_told(tmp_path):
    """Four images with three labels are refused."""
    for prefix in ("train", "t10k"):
        images, labels = np.zeros((4, 28, 28), np.uint8), np.zeros(3, np.uint8)
        write_mnist_like(tmp_path / "MNIST" / "raw", prefix, images, labels)
    with pytest.raises(InvalidDataError, match=r"shape \(4,\)"):
        load_named("mnist", "train", tmp_path, False)


def test_cifar_files_that_are_not_the_published_ones_are_told(tmp_path):
    """A pickle with another checksum is refused before it is opened."""
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    for name in [*(f"data_batch_{i}" for i in range(1, 6)), "test_batch", "batches.meta"]:
        (folder / name).write_bytes(b"cos\nsystem\n(S'echo opened'\ntR.")
    with pytest.raises(InvalidDataError, match=r"cifar10 .*corrupted"):
        load_named("cifar10", "test", tmp_path, False)


def test_colour_images_become_channels_first():
    """What torchvision keeps as (N, H, W, 3) with a list of labels becomes (N, 3, H, W), int64."""
    pixels = np.arange(2 * 4 * 5 * 3, dtype=np.uint8).reshape(2, 4, 5, 3)
    images, labels = as_tensors(pixels, [7, 0])
    assert images.shape == (2, 3, 4, 5)
    assert images.is_contiguous()
    assert all(
        int(images[n, c, h, w]) == int(pixels[n, h, w, c])
        for n, h, w, c in np.ndindex(*pixels.shape)
    )
    assert labels.dtype == torch.int64
    assert labels.tolist() == [7, 0]


def test_torchvision_can_be_imported_beside_any_torch():
    """In a fresh process the module, and torchvision after it, import without a warning."""
    code = "import ddcal_core.torchvision_readers, torchvision; print(torchvision.__name__)"
    ended = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "torchvision\n", "")
