"""The kind `distill` from a distilled set: its images, its id in the manifest, refusals."""

import pytest
import torch
from safetensors.torch import load_file

from ddcal_core.errors import InvalidDataError
from tests.worker.small_jobs import distill_params, file_of, run_kind, set_input, write_dataset

pytestmark = pytest.mark.long

torch.set_num_threads(1)  # tensors are tiny, and the cores may be shared

SET_ID = "set_" + "a" * 26
FROM_SET = {"init": {"set": "job_" + "b" * 26}}
STILL = {"iterations": 1, "lr": 1e-9, "selection": {"n_evaluations": 0}}


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    """A small data set as the supervisor hands it on."""
    return write_dataset(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def first(dataset, tmp_path_factory):
    """A set to go on from."""
    folder = tmp_path_factory.mktemp("first")
    (output,) = run_kind("distill", distill_params(), {"dataset": dataset}, folder / "job")
    return output


def images_of(output):
    """The images of a set, network-input space."""
    return load_file(file_of(output, "distilled_set.safetensors"))["images"]


def test_a_set_is_gone_on_from_and_named(dataset, first, tmp_path):
    """By its id, whatever the request called it by; a step of next to nothing leaves it there."""
    inputs = {"dataset": dataset, "start": set_input(first, SET_ID)}
    params = distill_params(**FROM_SET, **STILL)
    (output,) = run_kind("distill", params, inputs, tmp_path / "job")
    torch.testing.assert_close(images_of(output), images_of(first), rtol=0, atol=1e-4)
    assert output.values["initial_set_id"] == SET_ID
    assert "initial_set_id" not in first.values


def test_a_set_of_another_space_is_taken_over_by_its_pixels(dataset, first, tmp_path):
    """Whitened for a whitened distillation, its preview is the same picture."""
    inputs = {"dataset": dataset, "start": set_input(first, SET_ID)}
    params = {**distill_params(**FROM_SET, **STILL), "input_space": {"name": "zca"}}
    (output,) = run_kind("distill", params, inputs, tmp_path / "job")
    assert not torch.allclose(images_of(output), images_of(first), atol=0.1)
    tensors = load_file(file_of(output, "distilled_set.safetensors"))
    flat = images_of(output).flatten(1).double()
    pixels = torch.linalg.solve(tensors["input_space.matrix"].double(), flat.T).T
    pixels = (pixels + tensors["input_space.mean"]).view(-1, 1, 8, 8).float()
    mean, std = (dataset["facts"][name][0] for name in ("mean", "std"))
    torch.testing.assert_close(pixels, images_of(first) * std + mean, rtol=0, atol=1e-3)


def test_a_set_of_another_size_is_refused(dataset, first, tmp_path):
    """Of a job that was waited for, only the run knows."""
    inputs = {"dataset": dataset, "start": set_input(first, SET_ID)}
    params = distill_params(**FROM_SET, **{**STILL, "images_per_class": 3})
    with pytest.raises(InvalidDataError, match="wanted a distilled set of 3 images of each class"):
        run_kind("distill", params, inputs, tmp_path / "job")


def test_a_set_of_other_classes_is_refused(dataset, first, tmp_path):
    """Labels would stand for other things."""
    inputs = {"dataset": dataset, "start": set_input(first, SET_ID)}
    params = {**distill_params(**FROM_SET, **STILL), "classes": [2, 0, 1]}
    with pytest.raises(InvalidDataError, match="wanted a distilled set of class_names"):
        run_kind("distill", params, inputs, tmp_path / "job")
