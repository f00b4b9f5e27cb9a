"""What was downloaded, as PyTorch has it."""

import dataclasses
import json

import numpy as np
import pytest
import torch

import ddcal.torch
from ddcal_core.calibration.ensemble import fit_ensemble
from ddcal_core.calibration.isotonic import fit_isotonic
from ddcal_core.calibration.vector_scaling import fit_vector_scaling
from ddcal_core.data.input_space import Standard
from ddcal_core.errors import InvalidDataError
from ddcal_core.formats.calibrations import (
    CalibrationValues,
    EnsembleScalingFile,
    IsotonicScalingFile,
    VectorScalingFile,
)
from ddcal_core.formats.models import (
    calibrated_config,
    export_program,
    save_program,
    write_model,
)
from ddcal_core.formats.records import read_record, write_json
from ddcal_core.formats.sets import write_distilled_set
from ddcal_core.networks import ConvNet, initialise
from ddcal_core.specs.facts import DatasetFacts
from tests.core.formats.stored import model_provenance, set_provenance, stored

FACTS = DatasetFacts(
    image_shape=(3, 8, 8),
    class_names=("ant", "Bär", "<c>"),
    train_class_counts=(5, 5, 5),
    test_class_counts=(2, 2, 2),
    mean=(0.4, 0.5, 0.6),
    std=(0.2, 0.25, 0.3),
)


@pytest.fixture
def network():
    """A small ConvNet with fixed parameters."""
    made = ConvNet(3, 3, (8, 8), 4, 2)
    initialise(made, torch.Generator().manual_seed(0))
    return made.eval()


@pytest.fixture
def pixels():
    """Images in [0, 1]."""
    return torch.from_numpy(np.random.default_rng(0).random((7, 3, 8, 8), np.float32))


def trained(folder, network):
    """A folder as a training leaves it."""
    provenance = model_provenance(network={"name": "convnet", "width": 4, "depth": 2})
    return write_model(folder, network, space=Standard(FACTS), provenance=provenance)


def calibrated(folder, network, **changes):
    """A folder as a calibration leaves it."""
    config = trained(folder, network)
    values = read_record(CalibrationValues, stored("calibration") | changes)
    said = calibrated_config(config, values, apply="softmax", has_program=True)
    write_json(folder / "config.json", said.as_json())


@pytest.mark.parametrize("is_soft", [False, True])
@pytest.mark.parametrize("below", ["", "distill"])
def test_a_set_is_a_dataset_of_tensors(tmp_path, below, is_soft):
    """Images in network-input space with their labels; and back to pixels."""
    folder = tmp_path / below
    folder.mkdir(exist_ok=True)
    images = torch.randn(6, 3, 8, 8, generator=torch.Generator().manual_seed(2))
    labels = torch.tensor([0, 0, 1, 1, 2, 2])
    soft = torch.nn.functional.one_hot(labels).float() * 0.7 + 0.1
    given = soft if is_soft else labels
    provenance = set_provenance(dataset="d")
    write_distilled_set(folder, images, given, space=Standard(FACTS), provenance=provenance)

    read = ddcal.torch.load_set(tmp_path)

    assert torch.equal(read.images, images)
    assert torch.equal(read.labels, labels)
    assert (read.soft_labels is not None) is is_soft
    assert read.class_names == FACTS.class_names
    assert len(read) == 6
    assert repr(read) == "<DistilledSet: 6 images 3×8×8 of 3 classes>"
    image, label = read[4]
    assert torch.equal(image, images[4])
    assert torch.equal(label, given[4])
    batches = list(torch.utils.data.DataLoader(read, batch_size=4))
    assert [tuple(one.shape) for one, _ in batches] == [(4, 3, 8, 8), (2, 3, 8, 8)]
    mean, std = (torch.tensor(one).view(1, 3, 1, 1) for one in (FACTS.mean, FACTS.std))
    assert torch.allclose(read.pixels(), images * std + mean)
    assert read.train_with["epochs"] > 0


@pytest.mark.long
@pytest.mark.parametrize("temperature", [0.05, 1.0, 7.5])
def test_a_calibrated_model_answers_as_the_exported_program(tmp_path, network, pixels, temperature):
    """The temperature is applied, to the same probabilities."""
    calibrated(tmp_path, network, temperature=temperature, status="ok")
    save_program(export_program(network, Standard(FACTS)), temperature, tmp_path / "model.pt2")
    wanted = torch.export.load(tmp_path / "model.pt2").module()(pixels)

    model = ddcal.torch.load_model(tmp_path)

    assert model.temperature == temperature
    found = model(pixels)
    assert found.dtype == torch.float32
    assert torch.allclose(found, wanted, atol=1e-6)
    assert not model.training
    assert not any(one.requires_grad for one in model.parameters())


def test_a_trained_model_answers_as_it_is(tmp_path, network, pixels):
    """At T = 1; its logits are the network's own."""
    trained(tmp_path, network)
    model = ddcal.torch.load_model(tmp_path)
    assert torch.equal(model.logits(pixels), network(Standard(FACTS)(pixels)))
    assert torch.allclose(model(pixels), torch.softmax(model.logits(pixels), 1))


@pytest.mark.parametrize("method", ["vector", "isotonic", "ets"])
def test_more_than_one_number_is_applied_as_well(tmp_path, network, pixels, method):
    """As what was fitted applies itself."""
    generator = torch.Generator().manual_seed(1)
    labels = torch.arange(300) % 3
    logits = torch.randn(300, 3, generator=generator) + 2 * torch.eye(3)[labels]
    fits = {"vector": fit_vector_scaling, "isotonic": fit_isotonic, "ets": fit_ensemble}
    fit = fits[method](logits, labels)
    told = {"fit_on": "validation", "status": "ok", "n": 300, "apply": "so"}
    if method == "vector":
        file = VectorScalingFile(**told, weights=fit.scaling.weights, biases=fit.scaling.biases)
    elif method == "ets":
        file = EnsembleScalingFile(**told, **dataclasses.asdict(fit.scaling))
    else:
        scaling = fit.scaling
        file = IsotonicScalingFile(
            **told, probabilities=scaling.probabilities, shares=scaling.shares
        )
    calibrated(tmp_path, network, temperature=None, status="ok")
    write_json(tmp_path / "scaling.json", file.as_json())

    model = ddcal.torch.load_model(tmp_path)

    assert model.temperature is None
    with torch.no_grad():
        wanted = fit.scaling.apply(network(Standard(FACTS)(pixels)))
    assert torch.allclose(model(pixels).double(), wanted, atol=1e-6)


def test_a_fit_that_found_nothing_is_told(tmp_path, network):
    """There is nothing to apply; not silently T = 1."""
    calibrated(tmp_path, network, temperature=None, status="separable")
    with pytest.raises(InvalidDataError, match="got status separable"):
        ddcal.torch.load_model(tmp_path)


def test_what_is_no_manifest_is_told(tmp_path):
    """By its name."""
    (tmp_path / "manifest.json").write_text(json.dumps([]))
    with pytest.raises(InvalidDataError, match=r"wanted an object in manifest\.json; got list"):
        ddcal.torch.load_set(tmp_path)
    with pytest.raises(FileNotFoundError):
        ddcal.torch.load_model(tmp_path)
