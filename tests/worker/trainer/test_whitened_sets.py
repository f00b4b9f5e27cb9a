"""Whitened sets without their matrix: it is fitted on the data set, as kornia (for MTT) fits it."""

import numpy as np
import pytest
import torch
from kornia.enhance import ZCAWhitening
from safetensors.torch import load_file

from ddcal_core.errors import InvalidDataError
from tests.worker.small_jobs import file_of, run_kind, write_dataset

pytestmark = pytest.mark.long

EPS = 0.1
OPTIONS = {"dataset": "small", "space": "zca", "zca_eps": EPS}
PARAMS = {"content": "distilled_sets", "options": OPTIONS}


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    """A small data set as the supervisor hands it on."""
    return write_dataset(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def whitening(dataset):
    """Kornia's, fitted on all training images."""
    pixels = load_file(dataset["train_path"])["images"].double() / 255
    return ZCAWhitening(eps=EPS, unbiased=True, compute_inv=True).fit(pixels)


@pytest.fixture
def pixels():
    """An image per class."""
    return torch.rand(3, 1, 8, 8, generator=torch.Generator().manual_seed(1)).double()


def inputs_of(path, dataset, **arrays):
    """An upload as the supervisor hands it on."""
    np.savez(path, **arrays)
    return {
        "upload_path": str(path),
        "max_decoded_bytes": 1 << 24,
        "content": "distilled_sets",
        "options": OPTIONS,
        "sha256": "0" * 64,
        "name": "mine",
        "dataset": dataset,
    }


def test_the_matrix_is_kornias(dataset, whitening, pixels, tmp_path):
    """The images stay as they came; by the matrix beside them they are the pixels again."""
    images = whitening(pixels).float()
    inputs = inputs_of(tmp_path / "x.npz", dataset, images=images, labels=np.arange(3))
    (output,) = run_kind("intake", PARAMS, inputs, tmp_path / "job")
    assert output.values["input_space"] == {"name": "zca", "eps": EPS}
    assert output.name == "mine"
    stored = load_file(file_of(output, "distilled_set.safetensors"))
    assert torch.equal(stored["images"], images)
    matrix, mean = stored["input_space.matrix"], stored["input_space.mean"]
    torch.testing.assert_close(matrix, whitening.transform_matrix.float(), rtol=0, atol=1e-4)
    torch.testing.assert_close(mean, whitening.mean_vector.flatten().float(), rtol=0, atol=1e-6)
    back = torch.linalg.solve(matrix.double(), images.flatten(1).double().T).T + mean
    torch.testing.assert_close(back, pixels.flatten(1), rtol=0, atol=1e-4)


def test_a_matrix_of_the_files_own_is_not_fitted_again(dataset, whitening, pixels, tmp_path):
    """Which of the two the images were whitened with, nobody could tell."""
    arrays = {
        "images": whitening(pixels).float(),
        "labels": np.arange(3),
        "input_space.matrix": np.eye(64, dtype=np.float32),
        "input_space.mean": np.zeros(64, np.float32),
    }
    inputs = inputs_of(tmp_path / "x.npz", dataset, **arrays)
    with pytest.raises(InvalidDataError, match="the file brings its own matrix"):
        run_kind("intake", PARAMS, inputs, tmp_path / "job")


def test_images_that_were_not_whitened_are_refused(dataset, pixels, tmp_path):
    """They do not look like pixels once the fitted matrix is taken back."""
    inputs = inputs_of(tmp_path / "x.npz", dataset, images=pixels * 255, labels=np.arange(3))
    with pytest.raises(InvalidDataError, match="images: wanted"):
        run_kind("intake", PARAMS, inputs, tmp_path / "job")
