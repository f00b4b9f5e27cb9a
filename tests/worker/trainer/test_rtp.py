"""The kind `distill` with method rtp: the decoded set, its compact form, and its budget."""

import math

import pytest
import torch
from safetensors.torch import load_file

from tests.worker.small_jobs import run_kind, write_dataset

pytestmark = pytest.mark.long

torch.set_num_threads(1)  # tensors are tiny, and the cores may be shared

RTP = {
    "method": "rtp",
    "form": "bases",
    "images_per_class": 4,
    "init": "noise",
    "iterations": 3,
    "inner_steps": 2,
    "batch_real": 4,
    "n_bases": 6,
    "selection": {"n_evaluations": 0},
    "width": 4,
    "depth": 2,
}


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    """A small data set as the supervisor hands it on: 3 classes of 64 numbers an image."""
    return write_dataset(tmp_path_factory.mktemp("data"))


def distilled(folder, dataset, **changes):
    """The output of a job."""
    params = {"dataset": "small", "seed": 1, "distill": RTP | changes}
    (output,) = run_kind("distill", params, {"dataset": dataset}, folder)
    return output


def test_set_is_decoded_and_its_compact_form_lies_beside_it(tmp_path, dataset):
    """37 images a class of 4 x 3 x 64 numbers; bases and coefficients give them again."""
    output = distilled(tmp_path / "job", dataset)
    files = {path.name: path for path in output.files}
    images = load_file(files["distilled_set.safetensors"])["images"]
    compact = load_file(files["compact.safetensors"])
    assert images.shape == (3 * 37, 1, 8, 8)
    assert {name: tuple(value.shape) for name, value in compact.items()} == {
        "bases": (6, 1, 4, 4),
        "coefficients": (3 * 37, 6),
    }
    small = torch.einsum("mk,kchw->mchw", compact["coefficients"], compact["bases"])
    large = torch.nn.functional.interpolate(small, scale_factor=2, mode="bilinear")
    torch.testing.assert_close(images, large, rtol=1e-4, atol=1e-6)


def test_manifest_tells_what_the_budget_is_spent_on(tmp_path, dataset):
    """Numbers asked for and stored; images per class are what was asked for."""
    manifest = distilled(tmp_path / "bases", dataset).values
    assert manifest["images_per_class"] == 4
    assert manifest["n_images"] == 3 * 37
    assert manifest["storage"] == {
        "budget": 4 * 3 * 64,
        "bases": 6 * 16,
        "coefficients": 3 * 37 * 6,
        "labels": 0,
        "stored": 6 * 16 + 3 * 37 * 6,
        "decoded_images_per_class": 37,
    }
    assert math.floor((4 * 3 * 64 - 6 * 16) / (3 * 6)) == 37
    pixels = distilled(tmp_path / "pixels", dataset, form="pixels").values
    assert pixels["storage"]["images"] == pixels["storage"]["stored"] == 4 * 3 * 64
    assert pixels["n_images"] == 12


def test_soft_labels_are_stored(tmp_path, dataset):
    """Probabilities beside the classes, counted in the budget."""
    output = distilled(tmp_path / "job", dataset, labels="soft")
    tensors = load_file(output.files[0])
    n_images = output.values["n_images"]
    assert tensors["soft_labels"].shape == (n_images, 3)
    torch.testing.assert_close(tensors["soft_labels"].sum(1), torch.ones(n_images))
    assert output.values["storage"]["labels"] == 3 * n_images
