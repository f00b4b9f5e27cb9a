"""Each format is read again by the library that it is for, and holds what was stored."""

import csv
import hashlib
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from ddcal_core.data.input_space import to_pixels
from ddcal_core.data.torchvision_readers import datasets
from ddcal_core.formats.exports.image_folder import class_folders
from ddcal_core.formats.sets import read_distilled_set
from ddcal_core.specs.exports import FORMATS
from tests.worker.small_jobs import distill_params, run_kind, set_input, write_dataset
from worker.trainer.inputs import SetInput, parse_json
from worker.trainer.kinds.export import SET_WRITERS
from worker.trainer.loading import space_of_set

READINGS = {"imagefolder": "test_an_image_folder_holds_the_images_by_class"}
"""The format -> the test below that reads it by its library."""


@pytest.fixture(scope="module")
def distilled(tmp_path_factory) -> dict:
    """A small distilled set as the supervisor hands it on."""
    folder = tmp_path_factory.mktemp("set")
    (output,) = run_kind(
        "distill",
        distill_params(),
        {"dataset": write_dataset(folder), "experts": None},
        folder / "distill",
    )
    return set_input(output)


def stored(given):
    """Images (M, C, H, W), labels and pixels of a set, as this service reads them."""
    one = parse_json(SetInput, given)
    held = read_distilled_set(one.path, one.manifest.facts)
    return held, to_pixels(held.images, space_of_set(one))


def export(folder: Path, given: dict, word: str, resource: str = "distilled_set") -> Path:
    """A result in a format."""
    params = {"resource": resource, "result": "set_x", "format": word, "reports": []}
    (output,) = run_kind("export", params, {resource: given, "reports": []}, folder)
    assert output.resource == "export"
    (path,) = output.files
    assert path.name == FORMATS[resource][word].file_name
    return path


def test_every_format_has_a_writer_and_a_test():
    """Or a file that is there anyway."""
    made = {word for word, facts in FORMATS["distilled_set"].items() if not facts.is_stored}
    assert set(SET_WRITERS) == made == set(READINGS)
    assert all(name in globals() for name in READINGS.values())


@pytest.mark.parametrize("word", SET_WRITERS)
def test_a_format_is_the_same_bytes_each_time(tmp_path, distilled, word):
    """Nothing in it tells when or where it was written."""
    digests = {
        hashlib.sha256(export(tmp_path / str(n), distilled, word).read_bytes()).hexdigest()
        for n in range(2)
    }
    assert len(digests) == 1


def test_an_image_folder_holds_the_images_by_class(tmp_path, distilled):
    """Within half a grey level of what was stored; folders are names, whatever is in those."""
    path = export(tmp_path / "out", distilled, "imagefolder")
    zipfile.ZipFile(path).extractall(tmp_path / "read")
    held, pixels = stored(distilled)
    read = datasets.ImageFolder(str(tmp_path / "read" / "train"))
    table = (tmp_path / "read" / "labels.csv").read_text(encoding="utf-8")
    rows = list(csv.DictReader(table.splitlines()))
    assert len(read) == len(rows) == len(pixels)
    names = distilled["manifest"]["class_names"]
    folders = ["cat & dog", "_b_bold__b_", "Ärger"]
    assert class_folders(names) == folders
    by_file = {
        Path(name).relative_to(tmp_path / "read").as_posix(): (name, k) for name, k in read.samples
    }
    for number, row in enumerate(rows):
        file, k = by_file[row["file"]]
        label = int(held.labels[number])
        assert read.classes[k] == folders[label]
        assert (int(row["label"]), row["class_name"]) == (label, names[label])
        picture = np.asarray(read.loader(file))[:, :, 0]
        assert np.array_equal(picture, pixels[number, 0].numpy())


def test_folders_of_classes_are_never_the_same():
    """Nor anything but a name, on any file system."""
    names = ("a/b", "a:b", "A_B", "..", "", "x" * 300)
    assert class_folders(names) == ["a_b", "a_b_1", "A_B_2", "3", "4", "x" * 100]


def test_the_exact_pixels_are_within_half_a_grey_level(distilled):
    """But for those that a picture has no place for."""
    one = parse_json(SetInput, distilled)
    held, pixels = stored(distilled)
    exact = space_of_set(one).back(held.images)
    inside = (exact >= 0) & (exact <= 1)
    assert bool(inside.any())
    off = (exact * 255 - pixels).abs()[inside].max()
    assert float(off) <= 0.5 + 1e-3
    assert bool(torch.isfinite(exact).all())
