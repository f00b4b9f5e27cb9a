"""Records as version 1 wrote them, files of which lie beside this module."""

import json
from pathlib import Path
from typing import Any

from ddcal_core.formats.manifests import (
    ModelConfig,
    ModelProvenance,
    SetManifest,
    SetProvenance,
)
from ddcal_core.formats.records import read_record

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


def model_provenance(**changes: Any) -> ModelProvenance:
    """How that network was trained."""
    fields = dict(model_config(**changes))
    return ModelProvenance(**{name: fields[name] for name in ModelProvenance.model_fields})


def set_provenance(**changes: Any) -> SetProvenance:
    """How that set was made."""
    fields = dict(set_manifest(**changes))
    return SetProvenance(**{name: fields[name] for name in SetProvenance.model_fields})
