import hashlib
import pickle
import struct
import subprocess
import sys
from typing import ClassVar

import numpy as np
import pytest
import torch
from scipy.io import savemat

from ddcal_core.data.dataset_facts import NAMED_DATASETS
from ddcal_core.data.labelled import load_named
from ddcal_core.data.torchvision_readers import as_tensors, datasets
from ddcal_core.errors import InvalidDataError

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


@pytest.mark.parametrize("name", ["mnist", "fashion_mnist", "cifar10", "cifar100", "svhn"])
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


EVIL_PICKLE = b"cos\nsystem\n(S'echo opened'\ntR."
CIFAR_FILES = {
    "cifar10": (
        "cifar-10-batches-py",
        [*(f"data_batch_{i}" for i in range(1, 6)), "test_batch", "batches.meta"],
    ),
    "cifar100": ("cifar-100-python", ["train", "test", "meta"]),
}


@pytest.mark.parametrize("name", sorted(CIFAR_FILES))
def test_cifar_files_that_are_not_the_published_ones_are_told(tmp_path, capfd, name):
    """A pickle with another checksum is refused before it is opened: its code never runs."""
    folder_name, file_names = CIFAR_FILES[name]
    folder = tmp_path / folder_name
    folder.mkdir()
    for file_name in file_names:
        (folder / file_name).write_bytes(EVIL_PICKLE)
    with pytest.raises(InvalidDataError, match=rf"{name} .*corrupted"):
        load_named(name, "test", tmp_path, False)
    assert capfd.readouterr().out == ""


def md5_of(path):
    """The checksum that torchvision compares."""
    return hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()


class Python2Pickler(pickle._Pickler):
    """Writes bytes as Python 2 wrote its strings, which is how the published files were made."""

    dispatch: ClassVar = dict(pickle._Pickler.dispatch)

    def save_string(self, text):
        self.write(pickle.BINSTRING + struct.pack("<i", len(text)) + text)

    dispatch[bytes] = save_string


def write_python2_pickle(path, content):
    """Pickle as Python 2 did, with protocol 2."""
    with path.open("wb") as file:
        Python2Pickler(file, protocol=2).dump(content)


def write_cifar100(path, generator, n):
    """Write n images as the published python version has them: rows of planes, two labels."""
    rows = generator.integers(0, 256, (n, 3 * 32 * 32), dtype=np.uint8)
    labels = generator.integers(0, 100, n).tolist()
    content = {
        b"filenames": [b"x.png"] * n,
        b"batch_label": b"training batch 1 of 1",
        b"fine_labels": labels,
        b"coarse_labels": [0] * n,
        b"data": rows,
    }
    write_python2_pickle(path, content)
    return rows.reshape(n, 3, 32, 32), labels


def test_cifar100_files_are_read(tmp_path, monkeypatch):
    """Both splits of the published format, pixel by pixel, with the fine labels.

    Only the checksums are changed, to those of the small files.
    """
    folder = tmp_path / "cifar-100-python"
    folder.mkdir()
    generator = np.random.default_rng(0)
    written = {
        split: write_cifar100(folder / split, generator, n)
        for split, n in (("train", 5), ("test", 3))
    }
    meta = {b"fine_label_names": [b"apple"] * 100, b"coarse_label_names": [b"fish"] * 20}
    write_python2_pickle(folder / "meta", meta)
    reader = datasets.CIFAR100
    monkeypatch.setattr(reader, "train_list", [["train", md5_of(folder / "train")]])
    monkeypatch.setattr(reader, "test_list", [["test", md5_of(folder / "test")]])
    monkeypatch.setitem(reader.meta, "md5", md5_of(folder / "meta"))
    for split, (images, labels) in written.items():
        read = load_named("cifar100", split, tmp_path, False)
        assert torch.equal(read.images, torch.from_numpy(images))
        assert read.labels.tolist() == labels


def test_svhn_files_are_read(tmp_path, monkeypatch):
    """Both .mat files, images last in X and the digit 0 written as 10; it becomes label 0."""
    generator = np.random.default_rng(0)
    reader = datasets.SVHN
    for split, n in (("train", 5), ("test", 3)):
        images = generator.integers(0, 256, (32, 32, 3, n), dtype=np.uint8)
        digits = np.array([10, 1, 9, 10, 5][:n])
        path = tmp_path / f"{split}_32x32.mat"
        savemat(path, {"X": images, "y": digits[:, None].astype(np.uint8)})
        url, name, _ = reader.split_list[split]
        monkeypatch.setitem(reader.split_list, split, [url, name, md5_of(path)])
        read = load_named("svhn", split, tmp_path, False)
        assert torch.equal(read.images, torch.from_numpy(images.transpose(3, 2, 0, 1).copy()))
        assert read.images.is_contiguous()
        assert read.labels.tolist() == [0, 1, 9, 0, 5][:n]


def test_svhn_files_that_are_not_the_published_ones_are_told(tmp_path):
    """A .mat with another checksum is refused."""
    savemat(tmp_path / "test_32x32.mat", {"X": np.zeros((32, 32, 3, 1), np.uint8), "y": [[1]]})
    with pytest.raises(InvalidDataError, match=r"svhn .*corrupted"):
        load_named("svhn", "test", tmp_path, False)


@pytest.mark.parametrize(
    ("name", "n_train", "n_test", "n_classes"),
    [
        ("cifar10", 50_000, 10_000, 10),
        ("cifar100", 50_000, 10_000, 100),
        ("svhn", 73_257, 26_032, 10),
    ],
)
def test_facts_have_the_published_sizes(name, n_train, n_test, n_classes):
    """Totals as the sets' own pages state them; distinct names, one a class."""
    facts = NAMED_DATASETS[name]
    assert (sum(facts.train_class_counts), sum(facts.test_class_counts)) == (n_train, n_test)
    assert facts.n_classes == n_classes == len(set(facts.class_names))
    assert len(facts.train_class_counts) == len(facts.test_class_counts) == n_classes
    assert facts.image_shape == (3, 32, 32)


def test_cifar100_names_are_in_the_order_of_its_labels():
    """The set's fine labels are numbered in alphabetical order."""
    names = NAMED_DATASETS["cifar100"].class_names
    assert list(names) == sorted(names)
    assert (names[0], names[41], names[99]) == ("apple", "lawn_mower", "worm")


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


@pytest.mark.long
def test_torchvision_can_be_imported_beside_any_torch():
    """In a fresh process the module, and torchvision after it, import without a warning."""
    code = "import ddcal_core.data.torchvision_readers, torchvision; print(torchvision.__name__)"
    ended = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "torchvision\n", "")
