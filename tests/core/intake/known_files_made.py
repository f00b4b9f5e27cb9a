"""Files of data sets as other libraries write them: torchvision's, MATLAB's, Hugging Face's."""

import gzip
import io
import pickle
import struct
import tarfile

import datasets
import numpy as np
import scipy.io
from PIL import Image

from tests.image_files import encoded, noise

CIFAR_NAMES = ["airplane", "automobile", "bird"]


def tarred(members, mode="w:gz", **options):
    """A tar of (name, bytes) pairs or a dict."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode, **options) as archive:
        for name, data in dict(members).items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return buffer.getvalue()


def cifar(protocol=2, *, key=None, folder="cifar-10-batches-py"):
    """The members of CIFAR's archive, and its images (N, 32, 32, 3) and labels."""
    label_key = key or "labels"
    pixels, labels = noise(0, 30, 32, 32, 3), np.arange(30) % 3
    rows = pixels.transpose(0, 3, 1, 2).reshape(30, -1)

    def batch(start, stop):
        held = {"batch_label": "a batch", label_key: labels[start:stop].tolist(),
                "data": rows[start:stop], "filenames": ["a.png"] * (stop - start)}  # fmt: skip
        return pickle.dumps(held, protocol=protocol)

    meta = {"num_cases_per_batch": 10, "label_names": CIFAR_NAMES, "num_vis": 3072,
            "fine_label_names": CIFAR_NAMES}  # fmt: skip
    names = ("data_batch_1", "data_batch_2", "test_batch", "batches.meta")
    if key:
        names = ("train", None, "test", "meta")
    members = {f"{folder}/{names[0]}": batch(0, 10 if names[1] else 20),
               f"{folder}/{names[2]}": batch(20, 30),
               f"{folder}/{names[3]}": pickle.dumps(meta, protocol=protocol),
               f"{folder}/readme.html": b"<html>"}  # fmt: skip
    if names[1]:
        members[f"{folder}/{names[1]}"] = batch(10, 20)
    return members, pixels, labels


def idx(array):
    """An IDX file of bytes."""
    shape = struct.pack(f">{array.ndim}L", *array.shape)
    return bytes([0, 0, 8, array.ndim]) + shape + array.astype(np.uint8).tobytes()


def mnist(pack=gzip.compress, end=".gz"):
    """The four files and what they hold."""
    images, labels = noise(1, 30, 28, 28), np.arange(30) % 3
    return (
        {
            f"train-images-idx3-ubyte{end}": pack(idx(images[:20])),
            f"train-labels-idx1-ubyte{end}": pack(idx(labels[:20])),
            f"t10k-images-idx3-ubyte{end}": pack(idx(images[20:])),
            f"t10k-labels-idx1-ubyte{end}": pack(idx(labels[20:])),
        },
        images[..., None],
        labels,
    )


def mat(images, labels, *, compressed=True):
    """A .mat as SVHN's, images (N, H, W, C)."""
    buffer = io.BytesIO()
    held = {"X": images.transpose(1, 2, 3, 0), "y": labels[:, None]}
    scipy.io.savemat(buffer, held, do_compression=compressed)
    return buffer.getvalue()


def dataset_of(pixels, label_type=None):
    """A Dataset of Hugging Face, images as PNG in it."""
    features = datasets.Features(
        {
            "image": datasets.Image(),
            "label": label_type or datasets.ClassLabel(names=["cat", "dog"]),
        }
    )
    images = [Image.open(io.BytesIO(encoded(one))) for one in pixels.values()]
    labels = [name.split("/")[-2] for name in pixels]
    return datasets.Dataset.from_dict({"image": images, "label": labels}, features=features)
