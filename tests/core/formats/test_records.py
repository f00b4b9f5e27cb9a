"""Files of version 1 are read by an upgrade; those of a version to come are refused in words."""

import json

import pytest

from ddcal_core.errors import InvalidDataError
from ddcal_core.formats.calibrations import (
    CalibrationValues,
    read_scaling_file,
)
from ddcal_core.formats.logits_calibrations import LogitsCalibrationValues
from ddcal_core.formats.manifests import (
    CalibratedModelConfig,
    ModelConfig,
    NoSetFactor,
    SetFactor,
    SetManifest,
)
from ddcal_core.formats.records import read_record
from ddcal_core.specs.masks import MaskSpec
from tests.core.formats.stored import FOLDER, stored

RECORDS = [
    (ModelConfig, "config_distilled"),
    (ModelConfig, "config_herding"),
    (ModelConfig, "config_full"),
    (CalibratedModelConfig, "config_calibrated"),
    (SetManifest, "manifest"),
    (CalibrationValues, "calibration"),
    (LogitsCalibrationValues, "logits_calibration"),
]


def in_todays_words(value):
    """JSON of version 1 with the word for the images fitted on that is used now."""
    return json.loads(
        json.dumps(value).replace('"fit_on": "distilled"', '"fit_on": "training_set"')
    )


# Fields that came with version 2, and what they are in what was written before.
LATER = {"n_test_in_train": 0, "notes": [], "masked_gap": None}


def without_versions(value):
    """JSON without any `version`, and without later fields that say nothing."""
    if isinstance(value, dict):
        return {
            key: without_versions(one)
            for key, one in value.items()
            if key != "version" and (key not in LATER or one != LATER[key])
        }
    return [without_versions(one) for one in value] if isinstance(value, list) else value


@pytest.mark.parametrize(("record", "name"), RECORDS)
def test_version_1_is_read_and_written_with_every_key_it_had(record, name):
    """Only the version is new; what is written is read back as the same record."""
    held = stored(name)
    assert "version" not in held
    found = read_record(record, held)
    written = json.loads(json.dumps(found.as_json(), allow_nan=False))
    assert written["version"] == 2
    assert without_versions(written) == in_todays_words(held)
    assert read_record(record, written) == found


@pytest.mark.parametrize(("record", "name"), RECORDS)
@pytest.mark.parametrize("version", [3, 0, "1.0", None, 1.5])
def test_a_version_not_known_is_refused_in_words(record, name, version):
    """The message names what it is, its version, those that can be read, and what to do."""
    message = (
        f"this {record.KIND} is of version {version}; this ddcal reads versions 1 to 2: upgrade "
        "ddcal, or make it again"
    )
    with pytest.raises(InvalidDataError, match=message):
        read_record(record, stored(name) | {"version": version})


@pytest.mark.parametrize(("record", "name"), RECORDS)
def test_a_wrong_key_is_refused_and_named(record, name):
    """Of version 1 as well as of version 2."""
    for held in (stored(name), read_record(record, stored(name)).as_json()):
        with pytest.raises(InvalidDataError, match=f"wanted a {record.KIND}.*temprature"):
            read_record(record, held | {"temprature": 1.0})


def test_a_field_that_is_lacking_is_named():
    """No field is made up in version 2, where all are written."""
    held = read_record(ModelConfig, stored("config_full")).as_json()
    del held["input_space"]
    with pytest.raises(InvalidDataError, match=r"of version 2; got input_space: Field required"):
        read_record(ModelConfig, held)


def test_a_model_from_before_there_was_a_choice_has_the_defaults():
    """No input space, no classes, fewer options of network and training."""
    held = stored("config_full")
    del held["input_space"], held["split"]["classes"], held["split"]["imbalance"]
    del held["train"]["loss"], held["train"]["augmentation"], held["network"]["norm"]
    assert read_record(ModelConfig, held) == read_record(ModelConfig, stored("config_full"))


def test_a_set_from_before_there_were_factors_has_none():
    """Nor a learned learning rate or a choice of input space; its mask was plain."""
    held = stored("manifest")
    del held["input_space"], held["calibration_factor"], held["learned_lr"], held["distill"]["mask"]
    found = read_record(SetManifest, held)
    assert (found.calibration_factor, found.learned_lr) == (None, None)
    assert found.input_space.name == "standard"
    assert found.distill.mask == MaskSpec(ratio=0.25)


def test_a_set_s_factor_has_a_version_of_its_own():
    """Of a factor, and of why there is none."""
    manifest = read_record(SetManifest, stored("manifest"))
    assert isinstance(manifest.calibration_factor, SetFactor)
    assert manifest.as_json()["calibration_factor"]["version"] == 2
    none = {"factor": None, "why_none": "it diverged"}
    held = stored("manifest") | {"calibration_factor": none}
    assert read_record(SetManifest, held).calibration_factor == NoSetFactor(why_none="it diverged")


@pytest.mark.parametrize("name", ["scaling_vector", "scaling_isotonic"])
def test_scalings_of_version_1_are_read_and_later_ones_refused(name, tmp_path):
    """With every key they had."""
    assert without_versions(read_scaling_file(FOLDER / f"{name}.json").as_json()) == stored(name)
    path = tmp_path / "scaling.json"
    path.write_text(json.dumps(stored(name) | {"version": 3}))
    with pytest.raises(InvalidDataError, match=r"this scaling\.json is of version 3"):
        read_scaling_file(path)
    path.write_text(json.dumps(stored(name) | {"method": "x"}))
    with pytest.raises(InvalidDataError, match=r"wanted a scaling in scaling\.json"):
        read_scaling_file(path)
