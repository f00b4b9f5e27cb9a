"""Each format is read again by the library that it is for, and holds what was stored."""

import csv
import hashlib
import json
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from onnxruntime.capi.onnxruntime_pybind11_state import InvalidArgument

from ddcal_core.data.input_space import to_pixels
from ddcal_core.data.torchvision_readers import datasets
from ddcal_core.formats.exports.image_folder import class_folders
from ddcal_core.formats.manifests import ModelConfig, SetManifest
from ddcal_core.formats.models import read_input_space, read_model
from ddcal_core.formats.records import read_record
from ddcal_core.formats.sets import read_distilled_set
from ddcal_core.specs.exports import FORMATS
from tests.worker.small_jobs import (
    distill_params,
    model_input,
    run_kind,
    set_input,
    train_params,
    write_dataset,
)
from worker.trainer.kinds.export import MODEL_WRITERS, REPORT_WRITERS, SET_WRITERS
from worker.trainer.outputs import MEDIA_TYPES

MODEL_ID = "mdl_" + "b" * 26
CALIBRATION_IDS = tuple(f"cal_{n}" + "c" * 25 for n in range(2))
WRITERS = {
    "distilled_set": SET_WRITERS,
    "model": MODEL_WRITERS,
    "calibration": MODEL_WRITERS,
    "report": REPORT_WRITERS,
}
_OF_A_NETWORK = {
    "safetensors": "test_a_network_s_zip_holds_its_files",
    "onnx": "test_onnx_and_program_give_the_network_s_probabilities",
}
READINGS = {
    "distilled_set": {"imagefolder": "test_an_image_folder_holds_the_images_by_class"},
    "model": {**_OF_A_NETWORK, "pt2": "test_onnx_and_program_give_the_network_s_probabilities"},
    "calibration": _OF_A_NETWORK,
    "report": {"csv": "test_the_table_holds_the_report_s_numbers"},
}
"""The format -> the test below that reads it by its library."""


@dataclass(frozen=True)
class Given:
    """A result as the supervisor hands it on: what is stored of it, and its files."""

    details: dict
    files: dict[str, Path]

    def inputs(self, *reports):
        """Of an export."""
        files = {name: {"path": str(path)} for name, path in self.files.items()}
        return {"details": self.details, "files": files, "reports": list(reports)}


def given(output) -> Given:
    """A job's output, as it would be stored."""
    return Given(dict(output.values), {path.name: path for path in output.files})


@pytest.fixture(scope="module")
def results(tmp_path_factory) -> dict[str, Given]:
    """A small set, a network trained on it, its calibration, and the report on both."""
    folder = tmp_path_factory.mktemp("results")
    dataset = write_dataset(folder)
    inputs = {"dataset": dataset, "experts": None}
    (made,) = run_kind("distill", distill_params(), inputs, folder / "distill")
    on_set = set_input(made)
    source = {"source": "distilled", "distilled_set": on_set["id"]}
    trained = run_kind(
        "train",
        train_params(source, n_seeds=1),
        {"dataset": None, "distilled_set": on_set},
        folder / "train",
    )
    networks = {
        "models": [model_input(trained[0], MODEL_ID)],
        "distilled_sets": {on_set["id"]: on_set},
    }
    specs = [{"method": "none"}, {"method": "ts", "fit_on": "validation"}]
    params = {"models": [MODEL_ID], "calibrate": specs, "seed": 1}
    fitted = run_kind("calibrate", params, {"dataset": dataset, **networks}, folder / "calibrate")
    rows = [
        {
            "id": CALIBRATION_IDS[n],
            "model_id": MODEL_ID,
            "values": dict(one.values),
            "scaling_path": None,
        }
        for n, one in enumerate(fitted)
    ]
    dataset["test_path"] = dataset["train_path"].replace("train.", "test.")
    evaluate = {"n_bins": 15, "mts_ratios": [0.5]}
    (report,) = run_kind(
        "evaluate",
        {"calibrations": list(CALIBRATION_IDS), "evaluate": evaluate, "seed": 1},
        {"dataset": dataset, **networks, "calibrations": rows},
        folder / "evaluate",
    )
    return {
        "distilled_set": given(made),
        "model": given(trained[0]),
        "calibration": given(fitted[1]),
        "report": given(report),
    }


def stored(one: Given):
    """Images (M, C, H, W), labels, pixels and input space of a set, as this service reads them."""
    manifest = read_record(SetManifest, one.details)
    path = one.files["distilled_set.safetensors"]
    held, space = read_distilled_set(path, manifest.facts), read_input_space(path, manifest)
    return held, to_pixels(held.images, space), space


def export(folder: Path, results: dict[str, Given], resource: str, word: str) -> Path:
    """A result in a format."""
    params = {"resource": resource, "result": "x", "format": word, "reports": []}
    (output,) = run_kind("export", params, results[resource].inputs(), folder)
    assert output.resource == "export"
    (path,) = output.files
    assert path.name == FORMATS[resource][word].file_name
    return path


@pytest.mark.parametrize("resource", FORMATS)
def test_every_format_has_a_writer_and_a_test(resource):
    """Or a file that is there anyway; its type is the one that files of its name have."""
    formats = FORMATS[resource]
    made = {word for word, facts in formats.items() if not facts.is_stored}
    assert made == set(READINGS[resource])
    assert made <= set(WRITERS[resource])
    assert all(name in globals() for name in READINGS[resource].values())
    assert {MEDIA_TYPES[Path(one.file_name).suffix] for one in formats.values()} == {
        one.media_type for one in formats.values()
    }


@pytest.mark.parametrize(
    ("resource", "word"), [(one, word) for one, words in READINGS.items() for word in words]
)
def test_a_format_is_the_same_bytes_each_time(tmp_path, results, resource, word):
    """Nothing in it tells when or where it was written."""
    written = [export(tmp_path / str(n), results, resource, word) for n in range(2)]
    assert len({hashlib.sha256(path.read_bytes()).hexdigest() for path in written}) == 1


def test_an_image_folder_holds_the_images_by_class(tmp_path, results):
    """Within half a grey level of what was stored; folders are names, whatever is in those."""
    path = export(tmp_path / "out", results, "distilled_set", "imagefolder")
    zipfile.ZipFile(path).extractall(tmp_path / "read")
    held, pixels, _ = stored(results["distilled_set"])
    read = datasets.ImageFolder(str(tmp_path / "read" / "train"))
    table = (tmp_path / "read" / "labels.csv").read_text(encoding="utf-8")
    rows = list(csv.DictReader(table.splitlines()))
    assert len(read) == len(rows) == len(pixels)
    names = results["distilled_set"].details["class_names"]
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


def test_the_exact_pixels_are_within_half_a_grey_level(results):
    """But for those that a picture has no place for."""
    held, pixels, space = stored(results["distilled_set"])
    exact = space.back(held.images)
    inside = (exact >= 0) & (exact <= 1)
    assert bool(inside.any())
    assert float((exact * 255 - pixels).abs()[inside].max()) <= 0.5 + 1e-3


@pytest.mark.parametrize("resource", ["model", "calibration"])
def test_a_network_s_zip_holds_its_files(tmp_path, results, resource):
    """Byte for byte."""
    path = export(tmp_path / "out", results, resource, "safetensors")
    with zipfile.ZipFile(path) as archive:
        held = {name: archive.read(name) for name in archive.namelist()}
    assert {name: results[resource].files[name].read_bytes() for name in held} == held
    assert {"model.safetensors", "config.json"} <= set(held)


@pytest.mark.parametrize("resource", ["model", "calibration"])
def test_onnx_and_program_give_the_network_s_probabilities(tmp_path, results, resource):
    """With the temperature that was found, by the runtimes that people use."""
    given = results[resource]
    config = read_record(ModelConfig, results["model"].details)
    network = read_model(given.files["model.safetensors"], config)
    pixels = torch.rand(5, *config.image_shape, generator=torch.Generator().manual_seed(3))
    space = read_input_space(given.files["model.safetensors"], config)
    with torch.no_grad():
        logits = network(space(pixels)).double()
    temperature = given.details.get("temperature", 1.0)
    assert (temperature == 1.0) == (resource == "model")
    wanted = torch.softmax(logits / temperature, 1).numpy()

    path = export(tmp_path / "onnx", results, resource, "onnx")
    session = onnxruntime.InferenceSession(path)
    got, as_they_were = session.run(["probabilities", "logits"], {"pixels": pixels.numpy()})
    assert np.allclose(got, wanted, atol=1e-5)
    assert np.allclose(as_they_were, logits.numpy(), atol=1e-4)
    with pytest.raises(InvalidArgument, match="uint8"):
        session.run(None, {"pixels": (pixels * 255).to(torch.uint8).numpy()})

    path = given.files.get("calibrated_model.pt2")
    program = torch.export.load(path or export(tmp_path / "pt2", results, resource, "pt2"))
    assert np.allclose(program.module()(pixels).numpy(), wanted, atol=1e-5)
    with pytest.raises(RuntimeError, match="Expected: Float, Got: unsigned char"):
        program.module()((pixels * 255).to(torch.uint8))


def test_the_table_holds_the_report_s_numbers(tmp_path, results):
    """Every network under every calibration, to the last digit; what is no number is empty."""
    report = json.loads(results["report"].files["report.json"].read_text())
    path = export(tmp_path / "out", results, "report", "csv")
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    networks = [(row, one) for row in report["rows"] for one in row["networks"]]
    assert len(rows) == len(networks) == 2
    for read, (row, network) in zip(rows, networks, strict=True):
        assert (read["method"], read["status"]) == (row["method"], network["status"])
        for name in ("accuracy", "nll", "ece", "temperature", "null_p95"):
            assert float(read[name]) == network[name]
        assert [float(read["ece_low"]), float(read["ece_high"])] == network["ece_interval"]
        further = network["further"]
        assert float(read["smooth_calibration_error"]) == further["smooth_calibration_error"]
        assert read["mask_ratio"] == ""
