"""The picture of a data set that was taken in."""

import io

import numpy as np
import pytest
from PIL import Image

from ddcal_core.formats.pictures import SAMPLES
from ddcal_core.intake.npz_arrays import safetensors_header
from ddcal_core.intake.samples import samples_png
from ddcal_core.specs.facts import DatasetFacts


def written(path, images, labels):
    """A safetensors of images and labels, labels first, as an intake writes it."""
    header = {"labels": ("I64", labels.shape), "images": ("U8", images.shape)}
    body = labels.astype("<i8").tobytes() + images.tobytes()
    path.write_bytes(safetensors_header(header) + body)
    return path


def facts_of(images, labels, n_classes):
    """Facts with a name for each class."""
    n_channels = images.shape[1]
    counts = tuple(np.bincount(labels, minlength=n_classes).tolist())
    return DatasetFacts(
        image_shape=images.shape[1:],
        class_names=tuple(f"class {k}" for k in range(n_classes)),
        train_class_counts=counts,
        test_class_counts=counts,
        mean=(0.5,) * n_channels,
        std=(0.25,) * n_channels,
    )


@pytest.mark.parametrize(
    "shape", [(1, 8, 8), (3, 8, 12), (3, 32, 32), (1, 256, 200), (3, 256, 256)]
)
@pytest.mark.parametrize("n_classes", [2, 1_000])
def test_a_picture_is_bounded_whatever_was_sent(tmp_path, shape, n_classes):
    """At most so many classes, images of each and pixels of each."""
    labels = np.arange(2 * n_classes + 40) % n_classes
    images = np.zeros((len(labels), *shape), np.uint8)
    path = written(tmp_path / "train.safetensors", images, labels)
    picture = Image.open(io.BytesIO(samples_png(path, facts_of(images, labels, n_classes))))
    side = max(40, SAMPLES.side)
    assert picture.height <= (min(n_classes, SAMPLES.n_classes) + 1) * (side + 1) + 40
    assert picture.width <= SAMPLES.n_per_class * (2 * side + 1) + 400


def test_images_stand_beside_their_class(tmp_path):
    """One grey a class, in the order of the classes, whatever the order of the images."""
    labels = np.array([1, 0, 1, 0, 0])
    images = np.where(labels == 1, 200, 50).astype(np.uint8)[:, None, None, None]
    images = np.broadcast_to(images, (5, 1, 8, 8)).copy()
    path = written(tmp_path / "train.safetensors", images, labels)
    picture = Image.open(io.BytesIO(samples_png(path, facts_of(images, labels, 2)))).convert("L")
    pixels = np.asarray(picture)
    # A letter has a few pixels of any grey.
    first, second = (np.flatnonzero((pixels == grey).sum(1) >= 40) for grey in (50, 200))
    assert len(first) == len(second) == 40
    assert first.max() < second.min()


def test_large_images_are_shown_smaller_by_means(tmp_path):
    """Of stripes finer than the picture grey is left."""
    images = np.zeros((4, 1, 240, 240), np.uint8)
    images[:, :, ::5] = 200
    labels = np.array([0, 1, 0, 1])
    path = written(tmp_path / "train.safetensors", images, labels)
    picture = Image.open(io.BytesIO(samples_png(path, facts_of(images, labels, 2)))).convert("L")
    pixels = np.asarray(picture)
    assert ((pixels == 40).sum(1) >= 2 * SAMPLES.side).sum() == 2 * SAMPLES.side
    assert ((pixels == 200).sum(1) >= SAMPLES.side).sum() == 0
