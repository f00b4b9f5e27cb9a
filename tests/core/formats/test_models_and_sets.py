"""Exports, opened as a user opens them: with torch, numpy and safetensors, without this project."""

import io
import json
import math
import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image, ImageFont
from safetensors.torch import load_file, save_file

from ddcal_core.data.input_space import Standard
from ddcal_core.errors import InvalidDataError
from ddcal_core.formats.calibrations import CalibrationValues
from ddcal_core.formats.models import (
    calibrated_config,
    export_program,
    read_model,
    save_program,
    write_model,
)
from ddcal_core.formats.pictures import left_out_words, sheet_png
from ddcal_core.formats.records import read_record, write_json
from ddcal_core.formats.set_files import set_files
from ddcal_core.formats.sets import read_distilled_set, write_distilled_set
from ddcal_core.networks import ConvNet, initialise
from ddcal_core.specs.facts import DatasetFacts
from tests.core.formats.stored import (
    model_config,
    model_provenance,
    set_provenance,
    stored,
)

FACTS = DatasetFacts(
    image_shape=(3, 8, 8),
    class_names=("ant", "Bär", "<c>"),
    train_class_counts=(5, 5, 5),
    test_class_counts=(2, 2, 2),
    mean=(0.4, 0.5, 0.6),
    std=(0.2, 0.25, 0.3),
)

FONT = ImageFont.load_default(12)

# What a user writes who has never heard of this project.
USER_SCRIPT = """
import sys, numpy, torch
program = torch.export.load(sys.argv[1]).module()
pixels = torch.from_numpy(numpy.load(sys.argv[2]))
with torch.no_grad():
    both = torch.cat([program(pixels[:1]), program(pixels[1:])])
numpy.save(sys.argv[3], both.numpy())
assert not [name for name in sys.modules if name.startswith(("ddcal", "worker", "app"))]
"""


@pytest.fixture(scope="module")
def network():
    """A small ConvNet with fixed parameters."""
    made = ConvNet(3, 3, (8, 8), 4, 2)
    initialise(made, torch.Generator().manual_seed(0))
    return made.eval()


@pytest.fixture(scope="module")
def program(network):
    """That network, exported once for all temperatures."""
    return export_program(network, Standard(FACTS))


def probabilities_by_hand(network, pixels, temperature):
    """softmax(network((x - mean) / std) / T) in float64 from the network's float32 logits."""
    mean, std = (np.array(x, np.float32).reshape(1, 3, 1, 1) for x in (FACTS.mean, FACTS.std))
    with torch.no_grad():
        logits = network(torch.from_numpy((pixels - mean) / std)).double().numpy() / temperature
    powers = np.exp(logits - logits.max(1, keepdims=True))
    return powers / powers.sum(1, keepdims=True)


@pytest.mark.long
def test_the_program_runs_without_the_project(network, program, tmp_path):
    """Alone with torch and numpy it gives the calibrated probabilities, for 1 image and for 6."""
    pixels = np.random.default_rng(0).random((7, 3, 8, 8), np.float32)
    np.save(tmp_path / "pixels.npy", pixels)
    save_program(program, 0.031, tmp_path / "calibrated_model.pt2")
    names = ("calibrated_model.pt2", "pixels.npy", "out.npy")
    command = [sys.executable, "-I", "-c", USER_SCRIPT, *(str(tmp_path / name) for name in names)]
    subprocess.run(command, check=True, cwd=tmp_path, timeout=120)
    found = np.load(tmp_path / "out.npy")
    assert found.dtype == np.float32
    assert np.abs(found - probabilities_by_hand(network, pixels, 0.031)).max() < 1e-5


@pytest.mark.long
def test_one_export_serves_every_temperature(network, program, tmp_path):
    """Saved again with another temperature, the program has that one, and the old file its own."""
    pixels = np.random.default_rng(1).random((4, 3, 8, 8), np.float32)
    temperatures = (0.05, 1.0, 7.5)
    for temperature in temperatures:
        save_program(program, temperature, tmp_path / f"{temperature}.pt2")
    for temperature in temperatures:
        loaded = torch.export.load(tmp_path / f"{temperature}.pt2").module()
        found = loaded(torch.from_numpy(pixels)).numpy()
        wanted = probabilities_by_hand(network, pixels, temperature)
        assert np.abs(found - wanted).max() < 1e-5


def test_the_program_holds_no_image(program):
    """The example input that is saved with a program is zeros."""
    (example,), _ = program.example_inputs
    assert not example.any()


def test_a_program_follows_the_network_it_was_made_of(network, tmp_path):
    """Saving leaves the network's own parameters and the facts' normalisation as they were."""
    before = {key: value.clone() for key, value in network.state_dict().items()}
    save_program(export_program(network, Standard(FACTS)), 2.0, tmp_path / "x.pt2")
    assert all(torch.equal(before[key], value) for key, value in network.state_dict().items())


@pytest.fixture
def distilled(tmp_path):
    """A written distilled set: (folder, images, labels, manifest)."""
    images = torch.randn(6, 3, 8, 8, generator=torch.Generator().manual_seed(2)) * 3
    labels = torch.tensor([0, 0, 1, 1, 2, 2])
    manifest = write_distilled_set(
        tmp_path,
        images,
        labels,
        space=Standard(FACTS),
        provenance=set_provenance(dataset="d"),
    )
    return tmp_path, images, labels, manifest


def test_a_set_is_the_same_in_every_format(distilled):
    """Safetensors and .npz (without pickle) hold the same float32 images and int64 labels."""
    folder, images, labels, _ = distilled
    tensors = load_file(folder / "distilled_set.safetensors")
    assert torch.equal(tensors["images"], images)
    assert torch.equal(tensors["labels"], labels)
    with np.load(folder / "distilled_set.npz", allow_pickle=False) as arrays:
        assert sorted(arrays) == ["class_names", "images", "labels", "mean", "std"]
        assert np.array_equal(arrays["images"], images.numpy())
        assert np.array_equal(arrays["labels"], labels.numpy())
        assert arrays["class_names"].tolist() == ["ant", "Bär", "<c>"]
        assert np.allclose(arrays["mean"], FACTS.mean)
        assert np.allclose(arrays["std"], FACTS.std)


def test_the_manifest_says_all_one_needs(distilled):
    """Space, normalisation, class names, how to train and how to load stand in the manifest."""
    folder, _, _, record = distilled
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest == record.as_json()
    assert (manifest["mean"], manifest["std"]) == ([0.4, 0.5, 0.6], [0.2, 0.25, 0.3])
    assert manifest["class_names"] == ["ant", "Bär", "<c>"]
    assert manifest["space"].startswith("network input: (pixel / 255 - mean) / std")
    assert (manifest["train_with"]["network"], manifest["train_with"]["width"]) == ("convnet", 32)
    assert (manifest["train_with"]["epochs"], manifest["train_with"]["lr"]) == (300, 0.01)
    assert (manifest["learned_lr"], "compact" in manifest) == (None, False)
    assert manifest["dataset"] == "d"
    assert record.facts == FACTS


def test_the_preview_shows_the_images_clipped(distilled):
    """preview.png is a picture; its first tile is the first image in pixel space, clipped."""
    folder, images, _, _ = distilled
    with Image.open(folder / "preview.png") as preview:
        picture = np.asarray(preview.convert("RGB"))
    pixels = images[0].permute(1, 2, 0).numpy() * np.array(FACTS.std) + np.array(FACTS.mean)
    wanted = np.round(np.clip(pixels, 0, 1) * 255)
    label_width = 12 + math.ceil(max(map(FONT.getlength, FACTS.class_names)))
    tile = picture[2:42:5, label_width + 2 : label_width + 42 : 5]
    assert np.abs(tile - wanted).max() <= 1


@pytest.mark.parametrize(
    ("n_classes", "n_each", "words"),
    [
        (3, 20, ""),
        (3, 21, "Shown: the first 20 of 21 images per class."),
        (100, 1, ""),
        (101, 1, "Shown: the first 100 of 101 classes."),
        (200, 30, "Shown: the first 100 of 200 classes, the first 20 of 30 images per class."),
    ],
)
def test_a_preview_says_what_it_leaves_out(n_classes, n_each, words):
    """In a line below the last class; names have all the room that they need."""
    labels = np.repeat(np.arange(n_classes), n_each)
    assert left_out_words(labels, n_classes) == words
    names = tuple(f"{'a long name ' * 5}{k}" for k in range(n_classes))
    facts = FACTS.model_copy(
        update={
            "class_names": names,
            "image_shape": (1, 8, 8),
            "train_class_counts": (1,) * n_classes,
        }
    )
    sheet = sheet_png(np.zeros((len(labels), 1, 8, 8), np.uint8), labels, facts)
    with Image.open(io.BytesIO(sheet)) as picture:
        rows, foot = min(n_classes, 100) * 41, 24 if words else 0
        assert picture.height == rows + foot
        ink = np.asarray(picture.convert("L"))
    longest = math.ceil(max(map(FONT.getlength, names[:100])))
    assert (ink[:rows, : longest + 4] < 128).any(0).nonzero()[0].max() > longest - 4
    assert (ink[:rows, longest + 5 : longest + 11] == 255).all()
    assert (ink[rows:] < 128).any() == bool(words)


def test_reading_back_a_set(distilled):
    """What was written is read back; another shape, NaN or a label out of range is refused."""
    folder, images, labels, _ = distilled
    path = folder / "distilled_set.safetensors"
    stored = read_distilled_set(path, FACTS)
    assert torch.equal(stored.images, images)
    assert torch.equal(stored.labels, labels)
    assert stored.soft_labels is None
    soft = torch.eye(3)[labels]
    broken = {
        "finite pixels": {"images": images * float("nan"), "labels": labels},
        "one label 0 to 2": {"images": images, "labels": labels + 1},
        "wanted images": {"images": images[:, :1].contiguous(), "labels": labels},
        "labels \\(M,\\)": {"images": images},
        "soft labels \\(6, 3\\)": {"images": images, "labels": labels, "soft_labels": soft[:5]},
        "none below 0": {"images": images, "labels": labels, "soft_labels": soft * 2},
        "each row adding up": {"images": images, "labels": labels, "soft_labels": soft * 3 - 2 / 3},
    }
    for message, tensors in broken.items():
        save_file(tensors, path)
        with pytest.raises(InvalidDataError, match=message):
            read_distilled_set(path, FACTS)
    path.write_bytes(b"no tensors here")
    with pytest.raises(InvalidDataError, match="wanted a safetensors file"):
        read_distilled_set(path, FACTS)


def test_what_was_learned_beside_the_images_is_kept(tmp_path):
    """Soft labels, a learning rate and the compact form: in the files, the manifest and back."""
    images = torch.randn(3, 3, 8, 8, generator=torch.Generator().manual_seed(2))
    soft = torch.tensor([[0.2, 0.5, 0.3], [0.6, 0.4, 0.0], [0.1, 0.2, 0.7]])
    compact = {"bases": torch.arange(6.0).view(2, 3), "addresses": torch.ones(1, 2)}
    manifest = write_distilled_set(
        tmp_path,
        images,
        soft,
        space=Standard(FACTS),
        provenance=set_provenance(),
        learned_lr=0.037,
        compact=compact,
    )
    stored = read_distilled_set(tmp_path / "distilled_set.safetensors", FACTS)
    assert torch.equal(stored.soft_labels, soft)
    assert stored.labels.tolist() == [1, 0, 2]
    with np.load(tmp_path / "distilled_set.npz", allow_pickle=False) as arrays:
        assert np.array_equal(arrays["soft_labels"], soft.numpy())
    assert manifest.tensors["soft_labels"].startswith("float32 (3, 3)")
    assert manifest.learned_lr == manifest.train_with["lr"] == 0.037
    assert manifest.compact == {"bases": "float32 (2, 3)", "addresses": "float32 (1, 2)"}
    smaller = load_file(tmp_path / "compact.safetensors")
    assert all(torch.equal(smaller[name], value) for name, value in compact.items())
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(
        path.name for path in set_files(tmp_path)
    )


def test_a_model_comes_back_the_same(network, tmp_path):
    """Read from its files, a network gives the same logits to the bit; others' are refused."""
    provenance = model_provenance(network={"name": "convnet", "width": 4, "depth": 2})
    config = write_model(tmp_path, network, space=Standard(FACTS), provenance=provenance)
    assert json.loads((tmp_path / "config.json").read_text()) == config.as_json()
    images = torch.randn(3, 3, 8, 8, generator=torch.Generator().manual_seed(3))
    again = read_model(tmp_path / "model.safetensors", config)
    assert not again.training
    assert torch.equal(again(images), network(images))
    network = {"name": "convnet", "width": 5, "depth": 2}
    wider = read_record(type(config), config.as_json() | {"network": network})
    with pytest.raises(InvalidDataError, match="wanted the parameters of"):
        read_model(tmp_path / "model.safetensors", wider)


def test_a_program_can_have_a_scaling_a_class(network, program, tmp_path):
    """Weights and biases on centred logits, and gone again in what is saved next."""
    pixels = np.random.default_rng(2).random((4, 3, 8, 8), np.float32)
    weights, biases = [0.5, 2.0, 3.0], [-1.0, 0.25, 0.75]
    save_program(program, 1.0, tmp_path / "vector.pt2", weights=weights, biases=biases)
    save_program(program, 0.5, tmp_path / "plain.pt2")
    loaded = [torch.export.load(tmp_path / f"{name}.pt2").module() for name in ("vector", "plain")]
    found, plain = (one(torch.from_numpy(pixels)).numpy() for one in loaded)
    logs = np.log(probabilities_by_hand(network, pixels, 1.0))
    scores = (logs - logs.mean(1, keepdims=True)) * weights + biases
    powers = np.exp(scores)
    assert np.abs(found - powers / powers.sum(1, keepdims=True)).max() < 1e-5
    assert np.abs(plain - probabilities_by_hand(network, pixels, 0.5)).max() < 1e-5


@pytest.mark.parametrize(
    ("temperature", "apply", "has_program", "word"),
    [
        (2.5, "softmax(logits / temperature)", True, "torch.export.load"),
        (None, "a line per class", False, "applied by hand"),
        (None, None, False, "none: the fit is separable"),
    ],
)
def test_a_calibrated_config_says_how_it_is_used(temperature, apply, has_program, word):
    """The config has the temperature, null where there is none, and says what there is to run."""
    held = stored("calibration") | {"temperature": temperature, "status": "separable"}
    values = read_record(CalibrationValues, held)
    record = calibrated_config(model_config(), values, apply=apply, has_program=has_program)
    config = record.as_json()
    assert config["format"] == "ddcal calibrated model 1"
    assert (apply or "none: the fit is separable") in config["how_to_use"]["model.safetensors"]
    assert config["temperature"] == temperature
    assert config["calibration"]["status"] == "separable"
    assert word in config["how_to_use"]["calibrated_model.pt2"]


def test_json_with_infinities_is_never_written(tmp_path):
    """A number that JSON has no word for is an error, not a broken file."""
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "x.json", {"nll": float("inf")})
