"""A validation split of a data set's own, from the zip to the report."""

import numpy as np
import pytest
import torch

from ddcal_core.errors import InvalidDataError
from ddcal_core.intake.process import take_in
from ddcal_core.specs.kinds.distill import DistillParams
from tests.image_files import zipped
from tests.worker.small_jobs import (
    distill_params,
    file_of,
    model_input,
    run_kind,
    set_input,
    train_params,
)
from worker.trainer.fitting.calibration_images import CalibrationImages
from worker.trainer.inputs import DatasetInput, ModelInput, Task, parse_json
from worker.trainer.real_images import open_real_images

N_EACH = {"train": 12, "valid": 5, "test": 6}
CLASSES = ("ant", "bee", "cat")


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    """A DatasetInput of 3 classes, and the validation pixels by class."""
    folder = tmp_path_factory.mktemp("own")
    generator = np.random.default_rng(3)
    members = {
        f"{part}/{name}/{k:02}.png": generator.integers(
            60 * label, 60 * label + 120, (8, 8)
        ).astype(np.uint8)
        for part, n in N_EACH.items()
        for label, name in enumerate(CLASSES)
        for k in range(n)
    }
    (folder / "upload.zip").write_bytes(zipped(members))
    taken = take_in(folder / "upload.zip", folder, 10**9)
    given = {
        "name": "small",
        "facts": taken.facts.model_dump(mode="json"),
        "source": "upload",
        "train_path": str(taken.train_path),
        "test_path": None,
    }
    pixels = {
        name: np.stack([one for file, one in members.items() if file.startswith(f"valid/{name}")])
        for name in CLASSES
    }
    return given, pixels, str(taken.test_path)


def opened(given, **changes):
    """The real images of a distillation."""
    params = DistillParams.model_validate({**distill_params(), **changes})
    task = Task({}, {"dataset": given}, None, torch.device("cpu"), lambda _: None)
    return open_real_images(params, task)


def test_training_and_validation_are_those_of_the_folders(dataset):
    """All training images are learnt from; validation has every image of its folder, no other."""
    given, pixels, _ = dataset
    images = opened(given)
    assert images.split.n_own_validation == 15
    assert images.class_counts() == (12, 12, 12)
    wanted = np.concatenate([pixels[name] for name in CLASSES])
    held = images.data.images[images.validation_index].squeeze(1)
    assert np.array_equal(held, wanted)
    assert images.data.labels[images.validation_index].tolist() == [0] * 5 + [1] * 5 + [2] * 5
    assert not set(images.train_index.tolist()) & set(images.validation_index.tolist())
    trained = images.data.images[images.train_index].double() / 255
    assert images.facts.mean[0] == pytest.approx(float(trained.mean()))


def test_classes_and_long_tails_leave_validation_whole(dataset):
    """Of the classes taken every validation image stays; the tail thins training out alone."""
    given, pixels, _ = dataset
    images = opened(given, classes=["cat", "ant"], imbalance={"factor": 0.25})
    assert images.split.n_own_validation == 10
    assert images.class_counts() == (12, 3)
    held = images.data.images[images.validation_index].squeeze(1)
    labels = images.data.labels[images.validation_index]
    assert np.array_equal(held[labels == 0], pixels["cat"])
    assert np.array_equal(held[labels == 1], pixels["ant"])


def test_a_cut_of_it_is_refused(dataset):
    """There is nothing to cut."""
    with pytest.raises(InvalidDataError, match="n_validation: wanted none, as small has a valid"):
        opened(dataset[0], n_validation=5)


def test_temperatures_are_fitted_on_it_and_the_report_says_so(dataset, tmp_path):
    """Set, network, calibration and report go back to the same images."""
    given, pixels, test_path = dataset
    (distilled,) = run_kind("distill", distill_params(), {"dataset": given}, tmp_path / "set")
    assert distilled.values["split"]["n_own_validation"] == 15
    params = train_params({"source": "distilled", "distilled_set": "set_" + "a" * 26}, n_seeds=1)
    held = {"dataset": None, "distilled_set": set_input(distilled)}
    (trained,) = run_kind("train", params, held, tmp_path / "train")
    model = model_input(trained, "mdl_0")
    source = CalibrationImages(parse_json(DatasetInput, given), {}, torch.device("cpu"))
    examples = source.of(parse_json(ModelInput, model), "validation")
    mean, std = given["facts"]["mean"][0], given["facts"]["std"][0]
    fitted = np.round((examples.images[:].squeeze(1).numpy() * std + mean) * 255)
    assert np.array_equal(fitted, np.concatenate([pixels[name] for name in CLASSES]))
    sets = {"set_" + "a" * 26: set_input(distilled)}
    inputs = {"dataset": given, "models": [model], "distilled_sets": sets}
    specs = {"models": ["mdl_" + "a" * 26], "calibrate": [{"method": "ts", "fit_on": "validation"}]}
    (calibrated,) = run_kind("calibrate", specs, inputs, tmp_path / "calibrate")
    row = {
        "id": "cal_0",
        "model_id": "mdl_0",
        "values": dict(calibrated.values),
        "scaling_path": None,
    }
    inputs = {**inputs, "dataset": {**given, "test_path": test_path}, "calibrations": [row]}
    params = {"calibrations": ["cal_" + "a" * 26], "evaluate": {"n_bins": 5}}
    (report,) = run_kind("evaluate", params, inputs, tmp_path / "evaluate")
    page = file_of(report, "report.html").read_text()
    assert "Validation images: the 15 of the data set&#39;s own validation split." in page
    assert "cut from the training split by seed" not in page
