"""A train job on herded real images, and a calibration fitted on the very same ones."""

import pytest
import torch
from safetensors.torch import load_file

from ddcal_core.data.input_space import Standard
from ddcal_core.formats.manifests import Split
from ddcal_core.networks import build_network
from ddcal_core.seeding import seeded_generator
from ddcal_core.specs.training import TrainSpec
from ddcal_core.training.herding import herd
from ddcal_core.training.train import train_network
from tests.worker.small_jobs import (
    file_of,
    model_input,
    run_kind,
    train_params,
    write_dataset,
)
from worker.trainer.fitting.calibration_images import CalibrationImages
from worker.trainer.inputs import DatasetInput, ModelInput, parse_json
from worker.trainer.loading import cut, load_train_images

PIXELS = {"name": "pixels"}


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    """A small data set."""
    return write_dataset(tmp_path_factory.mktemp("data"))


def herded(dataset, folder, features=PIXELS, **changes):
    """Run a train job on two herded images of each class."""
    training_set = {"source": "herding", "images_per_class": 2, "features": features}
    params = train_params(training_set, **changes)
    return run_kind("train", params, {"dataset": dataset, "distilled_set": None}, folder)


def images_by_hand(dataset):
    """The training images left by the cut, normalised, with labels and places among all."""
    source = parse_json(DatasetInput, dataset)
    data = load_train_images(source)
    split = Split(dataset=source.name, seed=1, n_validation=None)
    index, _ = cut(data, split, 3)
    images = Standard(source.facts)(data.images[index].float() / 255)
    return images, data.labels[index], index


def test_networks_learn_from_herded_images(dataset, tmp_path):
    """Herding pixels and training by hand gives the models' bytes; all share the images."""
    outputs = herded(dataset, tmp_path / "train", epochs=5)
    images, labels, places = images_by_hand(dataset)
    own = [(labels == label).nonzero().squeeze(1) for label in range(3)]
    chosen = torch.cat([index[herd(images[index].flatten(1), 2)] for index in own])
    for k, output in enumerate(outputs):
        config = output.values
        assert config["herded_index"] == places[chosen].tolist()
        assert (config["training_set"], config["images_per_class"]) == ("herding", 2)
        assert (config["n_train"], config["herding"]) == (6, PIXELS)
        spec = parse_json(TrainSpec, config["train"])
        facts = parse_json(DatasetInput, dataset).facts
        network = build_network(spec, facts, seeded_generator(1, "network", k))
        order = seeded_generator(1, "order", k)
        train_network(network, images[chosen], labels[chosen], spec, generator=order)
        stored = load_file(file_of(output, "model.safetensors"))
        for key, value in network.state_dict().items():
            assert torch.equal(stored[key], value)


@pytest.mark.parametrize("epochs", [0, 2])
def test_features_of_a_network_choose_otherwise_and_the_same_again(dataset, tmp_path, epochs):
    """The recipe repeats its choice, which is not that of pixels."""
    features = {"name": "convnet", "width": 4, "depth": 2, "epochs": epochs, "n_images": 40}
    choices = [
        herded(dataset, tmp_path / str(k), one, n_seeds=1, epochs=1)[0].values["herded_index"]
        for k, one in enumerate((features, features, PIXELS))
    ]
    assert choices[0] == choices[1] != choices[2]


def test_fit_on_distilled_means_the_herded_images(dataset, tmp_path):
    """A calibration finds the images that its network was trained on."""
    (output,) = herded(dataset, tmp_path / "train", n_seeds=1, epochs=60)
    model = model_input(output, "mdl_a")
    finder = CalibrationImages(parse_json(DatasetInput, dataset), {}, torch.device("cpu"))
    found = finder.of(parse_json(ModelInput, model), "training_set")
    images, labels, places = images_by_hand(dataset)
    where = [places.tolist().index(place) for place in output.values["herded_index"]]
    assert torch.equal(found.images[:], images[where])
    assert found.labels.tolist() == labels[where].tolist() == [0, 0, 1, 1, 2, 2]
    params = {
        "models": ["mdl_" + "a" * 26],
        "seed": 1,
        "calibrate": [{"method": "mts", "fit_on": "distilled", "mask": {"ratio": 0.7}}],
    }
    inputs = {"dataset": dataset, "models": [model], "distilled_sets": {}}
    (calibrated,) = run_kind("calibrate", params, inputs, tmp_path / "calibrate")
    assert (calibrated.values["training_set"], calibrated.values["fit_on"]) == (
        "herding",
        "training_set",
    )
    assert calibrated.values["n"] > 0
