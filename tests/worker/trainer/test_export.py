"""Each format is read again by the library that it is for, and holds what was stored."""

import csv
import hashlib
import io
import json
import zipfile
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import onnxruntime
import pytest
import torch
import webdataset
from datasets import config as datasets_config
from datasets import load_dataset
from huggingface_hub import DatasetCard, ModelCard
from onnxruntime.capi.onnxruntime_pybind11_state import InvalidArgument
from PIL import Image
from pyarrow import parquet
from safetensors.torch import load_file, save_file

from ddcal_core.data.input_space import to_pixels
from ddcal_core.data.torchvision_readers import datasets
from ddcal_core.errors import InvalidDataError
from ddcal_core.formats.exports.image_folder import class_folders
from ddcal_core.formats.manifests import ModelConfig, SetManifest
from ddcal_core.formats.models import read_input_space, read_model
from ddcal_core.formats.records import read_record
from ddcal_core.formats.sets import read_distilled_set
from ddcal_core.intake.set_intake import take_in_sets
from ddcal_core.specs.exports import FORMATS
from ddcal_core.specs.uploads import SetOptions
from tests.worker.small_jobs import (
    distill_params,
    model_input,
    run_kind,
    set_input,
    train_params,
    write_dataset,
)
from worker.trainer.kinds.export import (
    COMPARISON_WRITERS,
    MODEL_WRITERS,
    REPORT_WRITERS,
    SET_WRITERS,
)
from worker.trainer.outputs import MEDIA_TYPES

MODEL_ID = "mdl_" + "b" * 26
SET_ID = "set_" + "a" * 26
CALIBRATION_IDS = tuple(f"cal_{n}" + "c" * 25 for n in range(2))
IDS = {
    "distilled_set": SET_ID,
    "model": MODEL_ID,
    "calibration": CALIBRATION_IDS[1],
    "report": "rep_" + "d" * 26,
    "comparison": "cmp_" + "e" * 26,
}
SAID = {"reports": [IDS["report"]], "declared": {"licence": "CC: BY*4.0*"}}
WRITERS = {
    "distilled_set": SET_WRITERS,
    "model": MODEL_WRITERS,
    "calibration": MODEL_WRITERS,
    "report": REPORT_WRITERS,
    "comparison": COMPARISON_WRITERS,
}
_OF_A_NETWORK = {
    "safetensors": "test_a_network_s_zip_holds_its_files",
    "onnx": "test_onnx_and_program_give_the_network_s_probabilities",
    "card": "test_a_network_s_card_says_what_was_measured",
}
READINGS = {
    "distilled_set": {
        "imagefolder": "test_an_image_folder_holds_the_images_by_class",
        "huggingface": "test_datasets_loads_pictures_and_exact_values",
        "webdataset": "test_a_shard_holds_pictures_and_exact_values",
        "dc": "test_the_structure_of_dc_is_that_of_its_code",
        "mtt": "test_the_pair_of_mtt_is_that_of_its_code",
        "card": "test_a_set_s_card_says_where_it_comes_from",
    },
    "model": {**_OF_A_NETWORK, "pt2": "test_onnx_and_program_give_the_network_s_probabilities"},
    "calibration": _OF_A_NETWORK,
    "report": {
        "csv": "test_the_table_holds_the_report_s_numbers",
        "parquet": "test_the_typed_table_is_the_same",
        "figures": "test_each_figure_is_a_drawing_by_itself",
    },
    "comparison": {"parquet": "test_a_comparison_s_typed_table_is_its_csv"},
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
def soft(results, tmp_path_factory) -> dict[str, Given]:
    """The small set with soft labels."""
    hard = results["distilled_set"]
    tensors = load_file(hard.files["distilled_set.safetensors"])
    tensors["soft_labels"] = torch.full((len(tensors["labels"]), 3), 0.25)
    tensors["soft_labels"][torch.arange(len(tensors["labels"])), tensors["labels"]] = 0.5
    path = tmp_path_factory.mktemp("soft") / "distilled_set.safetensors"
    save_file(tensors, path)
    return {**results, "distilled_set": Given(hard.details, {path.name: path})}


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
    path = next(str(path) for path in report.files if path.name == "report.json")
    settings = [{"distill.mask.ratio": 0, "seed": 1}, {"distill.method": "=dm", "seed": 2}]
    (compared,) = run_kind(
        "compare",
        {"reports": [{"report": IDS["report"], "settings": one} for one in settings]},
        {"reports": [{"job_id": "job_a", "report_id": IDS["report"], "path": path}] * 2},
        folder / "compare",
    )
    return {
        "comparison": given(compared),
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
    params = {"resource": resource, "result": IDS[resource], "format": word, **SAID}
    reports = [{"id": IDS["report"], "path": str(results["report"].files["report.json"])}]
    (output,) = run_kind("export", params, results[resource].inputs(*reports), folder)
    assert output.resource == "export"
    (path,) = output.files
    assert path.name == FORMATS[resource][word].file_name
    return path


@pytest.mark.parametrize("resource", FORMATS)
def test_every_format_has_a_writer_and_a_test(resource):
    """Or a file that is there anyway; its type is the one that files of its name have."""
    formats = FORMATS[resource]
    made = {word for word, facts in formats.items() if not facts.is_stored}
    assert made == set(READINGS.get(resource, {}))
    assert made <= set(WRITERS.get(resource, {}))
    assert all(name in globals() for name in READINGS.get(resource, {}).values())
    assert {MEDIA_TYPES[Path(one.file_name).suffix] for one in formats.values()} == {
        one.media_type for one in formats.values()
    }


@pytest.mark.long
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
    folders = ["0_cat & dog", "1__b_bold__b_", "2_Ärger"]
    assert class_folders(names) == folders
    by_file = {
        Path(name).relative_to(tmp_path / "read").as_posix(): (name, k) for name, k in read.samples
    }
    for number, row in enumerate(rows):
        file, k = by_file[row["file"]]
        label = int(held.labels[number])
        assert (k, read.classes[k]) == (label, folders[label])
        assert (int(row["label"]), row["class_name"]) == (label, names[label])
        picture = np.asarray(read.loader(file))[:, :, 0]
        assert np.array_equal(picture, pixels[number, 0].numpy())


@pytest.mark.parametrize("has_soft_labels", [False, True], ids=["hard", "soft"])
def test_datasets_loads_pictures_and_exact_values(
    tmp_path, monkeypatch, results, soft, has_soft_labels
):
    """As any other data set on a disk: features, pictures, the exact numbers, and the card."""
    monkeypatch.setattr(datasets_config, "HF_DATASETS_CACHE", tmp_path / "cache")
    given = soft if has_soft_labels else results
    path = export(tmp_path / "out", given, "distilled_set", "huggingface")
    with zipfile.ZipFile(path) as archive:
        archive.extractall(tmp_path / "read")
    held, pixels, _ = stored(given["distilled_set"])
    rows = load_dataset(str(tmp_path / "read"), split="train", cache_dir=str(tmp_path / "cache"))
    assert rows.features["label"].names == list(given["distilled_set"].details["class_names"])
    assert rows["label"][:] == held.labels.tolist()
    for row, picture in zip(rows, pixels, strict=True):
        assert np.array_equal(np.asarray(row["image"]), picture[0].numpy())
    exact = rows.with_format("torch")["pixel_values"][:]
    assert torch.equal(torch.stack(list(exact)), held.images)
    assert ("soft_label" in rows.column_names) == has_soft_labels
    if has_soft_labels:
        assert rows["soft_label"][:] == held.soft_labels.tolist()
    card = DatasetCard.load(tmp_path / "read" / "README.md")
    assert card.data.to_dict()["license_name"] == "CC: BY*4.0*"
    assert card.data.size_categories == ["n<1K"]


@pytest.mark.filterwarnings("ignore:.*webdataset.tar:pytest.PytestUnraisableExceptionWarning")
@pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")  # webdataset leaves it open
@pytest.mark.parametrize("has_soft_labels", [False, True], ids=["hard", "soft"])
def test_a_shard_holds_pictures_and_exact_values(tmp_path, results, soft, has_soft_labels):
    """A sample an image, in their order."""
    given = soft if has_soft_labels else results
    path = export(tmp_path / "out", given, "distilled_set", "webdataset")
    held, pixels, _ = stored(given["distilled_set"])
    read = list(webdataset.WebDataset(str(path), shardshuffle=False).decode("pil"))
    assert len(read) == len(pixels)
    for number, sample in enumerate(read):
        assert np.array_equal(np.asarray(sample["png"])[:, :, 0], pixels[number, 0].numpy())
        assert np.array_equal(sample["npy"], held.images[number].numpy())
        assert sample["cls"] == int(held.labels[number])
        assert sample["json"].get("soft_label") == (
            held.soft_labels[number].tolist() if has_soft_labels else None
        )


def test_the_structure_of_dc_is_that_of_its_code(tmp_path, results):
    """Plain tensors in lists in a dict, and our own intake takes it back as it was."""
    path = export(tmp_path / "out", results, "distilled_set", "dc")
    held, *_ = stored(results["distilled_set"])
    saved = torch.load(path, weights_only=True)
    assert saved["accs_all_exps"] == {}
    ((images, labels),) = saved["data"]
    assert torch.equal(images, held.images)
    assert torch.equal(labels, held.labels)
    assert labels.dtype == torch.int64
    taken_back(path, tmp_path, results["distilled_set"])


@pytest.mark.parametrize("has_soft_labels", [False, True], ids=["hard", "soft"])
def test_the_pair_of_mtt_is_that_of_its_code(tmp_path, results, soft, has_soft_labels):
    """Two files of one tensor each, and our own intake takes them back as they were."""
    given = soft if has_soft_labels else results
    path = export(tmp_path / "out", given, "distilled_set", "mtt")
    held, *_ = stored(given["distilled_set"])
    with zipfile.ZipFile(path) as archive:
        archive.extractall(tmp_path / "read")
    files = sorted(file.name for file in (tmp_path / "read").iterdir())
    assert files == ["images_best.pt", "labels_best.pt"]
    images, labels = (torch.load(tmp_path / "read" / name, weights_only=True) for name in files)
    assert torch.equal(images, held.images)
    assert torch.equal(labels, held.soft_labels if has_soft_labels else held.labels)
    taken_back(path, tmp_path, given["distilled_set"])


def test_a_whitened_set_of_mtt_has_its_pixels_besides(tmp_path):
    """As that code saves them: after the inverse transform, and not clipped."""
    inputs = {"dataset": write_dataset(tmp_path), "experts": None, "start": None}
    params = {**distill_params(), "input_space": {"name": "zca"}}
    (made,) = run_kind("distill", params, inputs, tmp_path / "distill")
    results = {"distilled_set": given(made)}
    held, _, space = stored(results["distilled_set"])
    params = {"resource": "distilled_set", "result": SET_ID, "format": "mtt", "declared": {}}
    inputs = results["distilled_set"].inputs()
    (output,) = run_kind("export", params, inputs, tmp_path / "out")
    with zipfile.ZipFile(output.files[0]) as archive:
        archive.extractall(tmp_path / "read")
    pixels = torch.load(tmp_path / "read" / "images_zca_best.pt", weights_only=True)
    assert torch.equal(pixels, space.back(held.images))
    whitened = torch.load(tmp_path / "read" / "images_best.pt", weights_only=True)
    assert torch.equal(whitened, held.images)


def taken_back(path: Path, tmp_path: Path, given: Given) -> None:
    """What was exported comes in again, and is the same."""
    (tmp_path / "in").mkdir()
    manifest = read_record(SetManifest, given.details)
    (taken,) = take_in_sets(
        path,
        tmp_path / "in",
        1 << 30,
        facts=manifest.facts,
        options=SetOptions(dataset="small", space="standardised"),
        sha256="0" * 64,
    )
    back = read_distilled_set(taken.paths[0], manifest.facts)
    held, *_ = stored(given)
    assert torch.equal(back.images, held.images)
    assert torch.equal(back.labels, held.labels)
    assert (back.soft_labels is None) == (held.soft_labels is None)


@pytest.mark.parametrize("word", ["imagefolder", "dc"])
def test_soft_labels_are_refused_where_they_have_no_place(tmp_path, soft, word):
    """By name, if they come that far."""
    with pytest.raises(InvalidDataError, match="wanted hard labels"):
        export(tmp_path / "out", soft, "distilled_set", word)


def test_a_set_s_card_says_where_it_comes_from(tmp_path, results):
    """How it was made, its licence as declared, and what was measured of networks trained on it."""
    card = DatasetCard.load(export(tmp_path / "out", results, "distilled_set", "card"))
    assert "# small, distilled by DM, 2 images per class" in card.text
    assert "| Mask | 25 % of the pixels in each step |" in card.text
    assert "| Seed | 1 |" in card.text
    assert r"made from: CC: BY\*4.0\*." in card.text
    assert "Where they are from: not declared." in card.text
    report = json.loads(results["report"].files["report.json"].read_text())
    fitted = next(row["networks"][0] for row in report["rows"] if row["method"] == "ts")
    before = next(row["networks"][0] for row in report["rows"] if row["method"] == "none")
    low, high = (100 * end for end in before["ece_interval"])
    assert f"| {100 * before['ece']:.2f} \\[{low:.2f}, {high:.2f}\\] |" in card.text
    assert f"| {100 * fitted['ece']:.2f} \\[" in card.text
    assert IDS["report"].replace("_", "\\_") in card.text


@pytest.mark.parametrize("resource", ["model", "calibration"])
def test_a_network_s_card_says_what_was_measured(tmp_path, results, resource):
    """And a calibrated one's what was found."""
    card = ModelCard.load(export(tmp_path / "out", results, resource, "card"))
    assert card.data.pipeline_tag == "image-classification"
    assert card.data.to_dict()["license_name"] == "CC: BY*4.0*"
    assert "| Trained on | distilled |" in card.text
    temperature = results["calibration"].details["temperature"]
    line = f"| Temperature | {temperature:.6g} |"
    assert (line in card.text) == (resource == "calibration")
    assert card.text.count(IDS["report"].replace("_", "\\_")) == 1


def test_a_network_that_nobody_calibrated_is_told_as_it_is(tmp_path, results):
    """By itself; beside a calibration it is what the other column says."""
    held = json.loads(results["report"].files["report.json"].read_text())
    rows = [row for row in held["rows"] if row["method"] == "none"]
    path = tmp_path / "report.json"
    path.write_text(json.dumps({**held, "rows": rows}))
    params = {"resource": "model", "result": MODEL_ID, "format": "card", **SAID}
    inputs = results["model"].inputs({"id": IDS["report"], "path": str(path)})
    (output,) = run_kind("export", params, inputs, tmp_path / "out")
    error = f"{100 * rows[0]['networks'][0]['ece']:.2f} "
    (line,) = [line for line in output.files[0].read_text().splitlines() if error in line]
    assert line.count(error) == 2


def test_a_card_without_a_report_says_that_nothing_is_known(tmp_path, results):
    """Instead of an empty table."""
    params = {"resource": "model", "result": MODEL_ID, "format": "card", "declared": {}}
    (output,) = run_kind("export", params, results["model"].inputs(), tmp_path / "out")
    card = ModelCard.load(output.files[0])
    assert card.data.license == "unknown"
    assert "No report has measured it yet" in card.text
    assert "made from: not declared." in card.text


def test_folders_of_classes_are_never_the_same():
    """Nor anything but a name, on any file system."""
    names = ("a/b", "a:b", "A_B", "..", "", "x" * 300)
    folders = ["0_a_b", "1_a_b_1", "2_A_B_2", "3_3", "4_4", "5_" + "x" * 100]
    assert class_folders(names) == folders
    assert class_folders(["a", "b/", "c"]) == ["a", "b_", "c"]


@pytest.mark.parametrize("names", [map(str, range(12)), ("T-shirt/top", "Trouser", "Pullover")])
def test_folders_sort_as_the_classes_do(names):
    """Readers number them so: an image would get the label of another class."""
    folders = class_folders([*names])
    assert folders == sorted(folders)


def test_the_exact_pixels_are_within_half_a_grey_level(results):
    """But for those that a picture has no place for."""
    held, pixels, space = stored(results["distilled_set"])
    exact = space.back(held.images)
    inside = (exact >= 0) & (exact <= 1)
    assert bool(inside.any())
    assert float((exact * 255 - pixels).abs()[inside].max()) <= 0.5 + 1e-3


@pytest.mark.parametrize("resource", ["model", "calibration"])
def test_a_network_s_zip_holds_its_files(tmp_path, results, resource):
    """Byte for byte, and its card."""
    path = export(tmp_path / "out", results, resource, "safetensors")
    with zipfile.ZipFile(path) as archive:
        held = {name: archive.read(name) for name in archive.namelist()}
    assert held.pop("README.md") == export(tmp_path / "2", results, resource, "card").read_bytes()
    assert {name: results[resource].files[name].read_bytes() for name in held} == held
    assert {"model.safetensors", "config.json"} <= set(held)


@pytest.mark.long
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


def test_the_typed_table_is_the_same(tmp_path, results):
    """With null where the other is empty, and the conventions beside it."""
    report = json.loads(results["report"].files["report.json"].read_text())
    table = parquet.read_table(export(tmp_path / "1", results, "report", "parquet"))
    with export(tmp_path / "2", results, "report", "csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert table.column_names == list(rows[0])
    for typed, read in zip(table.to_pylist(), rows, strict=True):
        assert {name: "" if value is None else str(value) for name, value in typed.items()} == read
    said = {key.decode(): value.decode() for key, value in table.schema.metadata.items()}
    assert said == report["conventions"]


def test_a_comparison_s_typed_table_is_its_csv(tmp_path, results):
    """With null where that is empty; settings are numbers where all are, text is as it was."""
    table = parquet.read_table(export(tmp_path / "1", results, "comparison", "parquet"))
    path = results["comparison"].files["comparison.csv"]
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert table.column_names == list(rows[0])
    for typed, read in zip(table.to_pylist(), rows, strict=True):
        if read["setting.distill.method"]:
            assert (read["setting.distill.method"], typed["setting.distill.method"]) == (
                "'=dm",
                "=dm",
            )
            read["setting.distill.method"] = "=dm"
        assert {name: "" if value is None else str(value) for name, value in typed.items()} == read
    kinds = {name: str(table.schema.field(name).type) for name in table.column_names}
    assert kinds["setting.distill.mask.ratio"] == kinds["setting.seed"] == "int64"
    assert (kinds["setting.distill.method"], kinds["ece"]) == ("string", "double")


@pytest.mark.long
def test_each_figure_is_a_drawing_by_itself(tmp_path, results):
    """As many as the page has, each well-formed, with its size, and no colour left to be filled."""
    page = results["report"].files["report.html"].read_text(encoding="utf-8")
    with zipfile.ZipFile(export(tmp_path / "out", results, "report", "figures")) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    drawings = {name: held for name, held in files.items() if name.endswith(".svg")}
    assert len(drawings) == page.count("<figure><figcaption>") > 4
    assert len(files) == 2 * len(drawings)
    assert any(name.startswith("01-reliability-diagram-") for name in drawings)
    for name, drawing in drawings.items():
        root = ElementTree.fromstring(drawing)
        assert root.tag == "{http://www.w3.org/2000/svg}svg"
        size = float(root.get("width")), float(root.get("height"))
        assert min(size) > 100
        assert root.find("{http://www.w3.org/2000/svg}title").text
        assert b"var(" not in drawing, name
        assert b".bar {fill: #9db8d9;}" in drawing
        picture = Image.open(io.BytesIO(files[name.replace(".svg", ".png")])).convert("RGB")
        assert picture.size == tuple(round(3 * side) for side in size)
        colours = {colour for _, colour in picture.getcolors(1 << 24)}
        assert {(255, 255, 255), (91, 99, 107)} <= colours  # paper, and the ink of words
