"""Records as version 1 wrote them, files of which lie beside this module."""

import json
from pathlib import Path
from typing import Any

from ddcal_core.formats.calibrations import CalibrationValues
from ddcal_core.formats.expert_sets import ExpertNetwork, ExpertSetRecord
from ddcal_core.formats.manifests import (
    ModelConfig,
    ModelProvenance,
    SetManifest,
    SetProvenance,
)
from ddcal_core.formats.records import read_record
from ddcal_core.specs.experts import ExpertSpec

FOLDER = Path(__file__).with_name("version_1")


def stored(name: str) -> dict[str, Any]:
    """The fields of a file of version 1."""
    fields: dict[str, Any] = json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))
    return fields


def in_todays_words(value: Any) -> Any:
    """JSON of version 1 as version 2 has it.

    With the word for the images fitted on that is used now, facts without notes, and rows that do
    not know what guessing gets.
    """
    told = json.loads(
        json.dumps(value).replace('"fit_on": "distilled"', '"fit_on": "training_set"')
    )
    return _with_later_fields(told)


def _with_later_fields(value: Any) -> Any:
    if isinstance(value, list):
        return [_with_later_fields(one) for one in value]
    if not isinstance(value, dict):
        return value
    later = {"notes": [], "n_test_in_train": 0} if value.keys() >= _FACTS else {}
    later |= {"guessing": None} if value.keys() >= _ROW else {}
    return later | {key: _with_later_fields(one) for key, one in value.items()}


_FACTS, _ROW = {"train_class_counts", "class_names"}, {"before", "calibration"}


def without_versions(value: Any) -> Any:
    """JSON without any `version`."""
    if isinstance(value, dict):
        return {key: without_versions(one) for key, one in value.items() if key != "version"}
    return [without_versions(one) for one in value] if isinstance(value, list) else value


def model_config(**changes: Any) -> ModelConfig:
    """The config of a network on full data, with changes."""
    return read_record(ModelConfig, stored("config_full") | changes)


def set_manifest(**changes: Any) -> SetManifest:
    """The manifest of a small distilled set, with changes."""
    return read_record(SetManifest, stored("manifest") | changes)


def calibration_values(**changes: Any) -> CalibrationValues:
    """What a calibration of that network has found, with changes."""
    return read_record(CalibrationValues, stored("calibration") | changes)


def expert_set_record() -> ExpertSetRecord:
    """A small set of experts of the same data."""
    manifest = set_manifest()
    return ExpertSetRecord(
        dataset=manifest.dataset,
        split=manifest.split,
        n_real_images=manifest.n_real_images,
        real_class_counts=manifest.facts.train_class_counts,
        format="ddcal experts 1",
        input_space=manifest.input_space,
        network=ExpertNetwork(name="convnet", width=32, depth=2),
        facts=manifest.facts,
        seed=manifest.seed,
        experts=ExpertSpec(depth=2),
        n_parameters=12_000,
        n_experts=8,
        epochs=6,
        n_bytes=2_000_000,
        seconds=1.5,
        made_with=manifest.made_with,
    )


def model_provenance(**changes: Any) -> ModelProvenance:
    """How that network was trained."""
    fields = dict(model_config(**changes))
    return ModelProvenance(**{name: fields[name] for name in ModelProvenance.model_fields})


def set_provenance(**changes: Any) -> SetProvenance:
    """How that set was made."""
    fields = dict(set_manifest(**changes))
    return SetProvenance(**{name: fields[name] for name in SetProvenance.model_fields})
