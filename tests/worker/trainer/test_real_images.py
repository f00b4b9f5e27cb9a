"""Classes, long tails and whitening from the distillation to the program a user runs."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from ddcal_core.data.labelled import long_tail, split_validation
from ddcal_core.errors import InvalidDataError
from tests.worker.small_jobs import (
    CLASS_NAMES,
    distill_params,
    file_of,
    model_input,
    run_kind,
    set_input,
    train_params,
    write_dataset,
)
from worker.trainer.fitting.calibration_images import CalibrationImages
from worker.trainer.inputs import DatasetInput, ModelInput, SetInput, parse_json
from worker.trainer.loading import load_model

pytestmark = pytest.mark.long

ZCA, PER_IMAGE = {"name": "zca", "eps": 0.02}, {"name": "zca_per_image", "regularisation": 0.3}
# Of 30 images per class 6 are cut; the tail keeps 24 and 24 * 0.25 = 6.
CHOICE = {"classes": ["Ärger", 0], "imbalance": {"factor": 0.25}}
CALIBRATE = [{"method": "none"}, {"method": "ts", "fit_on": "validation"}]


class Lineage:
    """Everything made of one choice of data: distilled, random and full rows, and their report."""

    def __init__(self, folder, space, rows):
        folder.mkdir()
        self.folder, self.space = folder, space
        self.dataset = write_dataset(folder)
        choice = {**CHOICE, "input_space": space}
        params = {**distill_params(images_per_class=3, iterations=2), **choice}
        (self.distilled,) = run_kind("distill", params, {"dataset": self.dataset}, folder / "set")
        self.set = set_input(self.distilled)
        sources = {
            "distilled": {"source": "distilled", "distilled_set": self.set["id"]},
            "random": {"source": "random", "images_per_class": 3},
            "full": {"source": "full"},
        }
        self.models = {}
        for name, source in sources.items():
            if name not in rows:
                continue
            params = train_params(source, epochs=20, n_seeds=1)
            is_distilled = name == "distilled"
            inputs = {
                "dataset": None if is_distilled else self.dataset,
                "distilled_set": self.set if is_distilled else None,
            }
            outputs = run_kind(
                "train", params if is_distilled else params | choice, inputs, folder / name
            )
            self.models[name] = [
                model_input(output, f"mdl_{name}_{k}") for k, output in enumerate(outputs)
            ]
        self.every_model = [model for models in self.models.values() for model in models]
        self.calibrated = run_kind(
            "calibrate",
            {"models": ["mdl_" + "a" * 26], "seed": 1, "calibrate": CALIBRATE},
            self.inputs(),
            folder / "calibrate",
        )
        self.report = self.evaluate(folder / "evaluate")

    def inputs(self):
        """What calibrate and evaluate are given."""
        return {
            "dataset": self.dataset,
            "models": self.every_model,
            "distilled_sets": {self.set["id"]: self.set},
        }

    def evaluate(self, folder):
        """The files of a report, by name."""
        rows = [
            {"id": f"cal_{k}", "model_id": output.values["model_id"], "values": output.values}
            for k, output in enumerate(self.calibrated)
        ]
        inputs = {**self.inputs(), "calibrations": json.loads(json.dumps(rows))}
        inputs["dataset"] = self.dataset | {"test_path": str(self.test_path)}
        params = {"calibrations": ["cal_" + "a" * 26], "seed": 1, "evaluate": {"mts_ratios": []}}
        (output,) = run_kind("evaluate", params, inputs, folder)
        return {path.name: path for path in output.files}

    @property
    def test_path(self):
        """Where the test images lie."""
        return Path(self.dataset["train_path"]).with_name("test.safetensors")

    def images(self):
        """The finder of images, as a calibrate job has it."""
        sets = {self.set["id"]: parse_json(SetInput, self.set)}
        dataset = parse_json(DatasetInput, self.dataset)
        return CalibrationImages(dataset, sets, torch.device("cpu"))


@pytest.fixture(scope="module")
def zca(tmp_path_factory):
    """A whole run, whitened as MTT does it."""
    return Lineage(tmp_path_factory.mktemp("zca") / "run", ZCA, ("distilled", "random", "full"))


@pytest.fixture(scope="module")
def per_image(tmp_path_factory):
    """A run without baselines, whitened as RTP does it."""
    return Lineage(tmp_path_factory.mktemp("per-image") / "run", PER_IMAGE, ("distilled",))


@pytest.fixture(params=["zca", "per_image"])
def lineage(request):
    """Either run."""
    return request.getfixturevalue(request.param)


def pixels_of(path, classes):
    """Images of some classes as the file has them: float64 (N, 64) in [0, 1], and new labels."""
    tensors = load_file(path)
    rows = [
        (image.numpy().ravel() / 255, classes.index(int(label)))
        for image, label in zip(tensors["images"], tensors["labels"], strict=True)
        if int(label) in classes
    ]
    return np.array([row for row, _ in rows]), np.array([label for _, label in rows])


def whitened_by_hand(rows, tensors):
    """Rows in the space of stored tensors, in float64."""
    matrix = tensors["input_space.matrix"].numpy().astype(np.float64)
    if "input_space.mean" in tensors:
        return (rows - tensors["input_space.mean"].numpy()) @ matrix
    centred = rows - rows.mean(1, keepdims=True)
    return centred / np.linalg.norm(centred, axis=1, keepdims=True) @ matrix


def test_the_set_is_of_the_classes_asked_for(lineage):
    """Two classes in the order asked, counts after cut and tail, space and split told."""
    values = lineage.distilled.values
    assert values["class_names"] == [CLASS_NAMES[2], CLASS_NAMES[0]]
    assert values["split"] == {
        "dataset": "small", "seed": 1, "n_validation": None, "classes": [2, 0], "imbalance": 0.25,
    }  # fmt: skip
    assert (values["n_real_images"], values["real_class_counts"]) == (30, [24, 6])
    assert values["facts"]["train_class_counts"] == [30, 30]
    assert values["input_space"] == lineage.space
    assert "input_space.matrix" in values["space"]
    assert load_file(lineage.set["path"])["labels"].tolist() == [0, 0, 0, 1, 1, 1]


def learned_from(lineage):
    """The training images of the split, as rows in float64, and their labels."""
    rows, labels = pixels_of(lineage.dataset["train_path"], [2, 0])
    labels = torch.from_numpy(labels)
    training, _ = split_validation(labels, None, 2, 1)
    kept = long_tail(labels, training, 2, factor=0.25, seed=1)
    return rows[kept.numpy()], labels[kept].tolist()


def test_the_matrix_is_fitted_on_the_images_learned_from(lineage):
    """Its square, inverted, is the formula's: moments of the 30 images left, ridge added."""
    tensors = load_file(lineage.set["path"])
    used, _ = learned_from(lineage)
    if lineage.space["name"] == "zca":
        moments, ridge = np.cov(used.T), lineage.space["eps"]
        np.testing.assert_allclose(tensors["input_space.mean"], used.mean(0), atol=1e-6)
    else:
        centred = used - used.mean(1, keepdims=True)
        unit = centred / np.linalg.norm(centred, axis=1, keepdims=True)
        moments = unit.T @ unit / len(unit)
        ridge = lineage.space["regularisation"] * np.trace(moments) / len(moments)
    inverse = np.linalg.inv(tensors["input_space.matrix"].numpy().astype(np.float64))
    np.testing.assert_allclose(inverse @ inverse, moments + ridge * np.eye(64), atol=1e-5)


def test_rows_of_one_choice_are_in_one_space(lineage):
    """Distilled, random and full networks carry the same bytes of it, and tell of the same data."""
    spaces = {Path(model["input_space_path"]).read_bytes() for model in lineage.every_model}
    assert len(spaces) == 1
    for model in lineage.every_model:
        assert model["config"]["input_space"] == lineage.space
        assert model["config"]["split"] == lineage.distilled.values["split"]
        assert model["config"]["class_names"] == lineage.distilled.values["class_names"]


def test_random_images_come_from_the_tail(zca):
    """Three of each class, in the network's space, among the images of the full row."""
    rows, labels = learned_from(zca)
    assert zca.models["full"][0]["config"]["n_train"] == len(rows) == 30
    (model,) = zca.models["random"]
    there = whitened_by_hand(rows, load_file(model["input_space_path"]))
    own = zca.images().of(parse_json(ModelInput, model), "training_set")
    assert own.labels.tolist() == [0, 0, 0, 1, 1, 1]
    for image, label in zip(own.images, own.labels.tolist(), strict=True):
        distances = np.abs(there - image.flatten().double().numpy()).max(1)
        assert distances.min() < 1e-4
        assert labels[int(distances.argmin())] == label


def test_validation_knows_no_long_tail(zca):
    """Six of each class, the same ones as without imbalance, in the network's space."""
    model = parse_json(ModelInput, zca.models["full"][0])
    found = zca.images().of(model, "validation")
    assert found.labels.bincount().tolist() == [6, 6]
    split = model.config.split.model_copy(update={"imbalance": None})
    config = model.config.model_copy(update={"split": split})
    even = model.model_copy(update={"config": config})
    assert torch.equal(zca.images().of(even, "validation").images, found.images)


def test_the_program_takes_raw_pixels(lineage):
    """Each .pt2 on the test file's pixels: the network's probabilities, the report's accuracy."""
    report = json.loads(lineage.report["report.json"].read_text())
    rows, labels = pixels_of(lineage.test_path, [2, 0])
    assert report["n_test"] == len(rows) == 40
    pixels = torch.from_numpy(rows.reshape(-1, 1, 8, 8).astype(np.float32))
    reported = {
        (network["model_id"], row["method"]): network["accuracy"]
        for row in report["rows"]
        for network in row["networks"]
    }
    for model in lineage.every_model:
        network = load_model(parse_json(ModelInput, model), torch.device("cpu"))
        whitened = whitened_by_hand(rows, load_file(model["input_space_path"]))
        images = torch.from_numpy(whitened.astype(np.float32)).view(-1, 1, 8, 8)
        logits = network(images).detach().double()
        for output in lineage.calibrated:
            names = [path.name for path in output.files]
            assert "input_space.safetensors" in names
            if output.values["model_id"] != model["id"] or "calibrated_model.pt2" not in names:
                continue
            program = torch.export.load(file_of(output, "calibrated_model.pt2")).module()
            found = program(pixels)
            wanted = torch.softmax(logits / output.values["temperature"], 1)
            torch.testing.assert_close(found.double(), wanted, atol=1e-4, rtol=1e-4)
            right = (found.argmax(1).numpy() == labels).mean()
            assert right == pytest.approx(reported[model["id"], output.values["method"]])


def test_a_report_tells_classes_tail_and_space(zca):
    """In the labels, in each training set's fields, in sentences."""
    report = json.loads(zca.report["report.json"].read_text())
    labels = [one["label"] for one in report["training_sets"]]
    assert labels == [
        "distilled (DM, MDT 25\u202f%, 3 per class, ZCA, long tail 0.25)",
        "random (3 per class, ZCA, long tail 0.25)",
        "full (30 images, ZCA, long tail 0.25)",
    ]
    assert report["class_names"] == [CLASS_NAMES[2], CLASS_NAMES[0]]
    for training_set in report["training_sets"]:
        assert training_set["real_class_counts"] == [24, 6]
        assert training_set["input_space"] == zca.space
    page = zca.report["report.html"].read_text()
    assert "2 were taken, for test as well: 2, 0." in page
    assert "factor 0.25 (Cui et al., 2019): 24 images of the first class to 6 of the last" in page
    assert "Pixels were whitened by ZCA" in page


def test_the_preview_shows_pixels(lineage):
    """zca: the way back by numpy, clipped; per image: the picture from black to white."""
    tensors = load_file(lineage.set["path"])
    matrix = tensors["input_space.matrix"].numpy().astype(np.float64)
    row = np.linalg.solve(matrix, tensors["images"][0].flatten().double().numpy())
    if lineage.space["name"] == "zca":
        row = np.clip(row + tensors["input_space.mean"].numpy(), 0, 1)
    else:
        row = (row - row.min()) / (row.max() - row.min())
    with Image.open(file_of(lineage.distilled, "preview.png")) as preview:
        picture = np.asarray(preview.convert("L")).astype(float)
    # The strip of a class ends where the picture does; its names are as wide as they are.
    n_images = int((tensors["labels"] == tensors["labels"][0]).sum())
    start = picture.shape[1] - 5 * (9 * n_images - 1)
    tile = picture[2:42:5, start + 2 : start + 42 : 5]
    assert np.abs(tile - np.round(row.reshape(8, 8) * 255)).max() <= 1
    assert tile.std() > 20


def test_the_npz_brings_the_matrix_along(lineage):
    """Whoever loads it with numpy has all that the manifest's words name."""
    tensors = load_file(lineage.set["path"])
    with np.load(file_of(lineage.distilled, "distilled_set.npz"), allow_pickle=False) as arrays:
        for name in (name for name in tensors if name.startswith("input_space.")):
            assert np.array_equal(arrays[name], tensors[name].numpy())
        assert "input_space.matrix" in arrays
    assert "input_space.matrix" in lineage.distilled.values["tensors"]


def test_networks_of_other_classes_make_no_report(zca, tmp_path):
    """Where submission could not know, the worker refuses."""
    other = dict(zca.every_model[0])
    split = other["config"]["split"] | {"classes": [0, 1]}
    other |= {"id": "mdl_other", "config": other["config"] | {"split": split}}
    inputs = {**zca.inputs(), "calibrations": []}
    inputs["models"] = [*inputs["models"], other]
    inputs["dataset"] = zca.dataset | {"test_path": str(zca.test_path)}
    params = {"calibrations": ["cal_" + "a" * 26], "seed": 1}
    with pytest.raises(ValueError, match="wanted networks of the same classes"):
        run_kind("evaluate", params, inputs, tmp_path / "evaluate")


def test_a_class_that_there_is_not_is_refused(tmp_path):
    """An upload still being checked at submission is only known here."""
    dataset = write_dataset(tmp_path)
    params = {**distill_params(), "classes": ["Ärger", "joy"]}
    with pytest.raises(InvalidDataError, match="index 0 to 2; got 'joy'"):
        run_kind("distill", params, {"dataset": dataset}, tmp_path / "distill")


def test_plain_data_is_as_it_was(tmp_path):
    """Naming every class, in order, and the standard space changes no byte of a set."""
    dataset = write_dataset(tmp_path)
    named = {"classes": [*CLASS_NAMES], "input_space": {"name": "standard"}}
    files = []
    for k, params in enumerate((distill_params(), {**distill_params(), **named})):
        (output,) = run_kind("distill", params, {"dataset": dataset}, tmp_path / f"distill-{k}")
        files.append(file_of(output, "distilled_set.safetensors").read_bytes())
        assert output.values["split"]["classes"] is None
        assert set(load_file(output.files[0])) == {"images", "labels"}
    assert files[0] == files[1]
