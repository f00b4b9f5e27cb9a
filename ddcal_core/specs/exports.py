"""The formats that results are downloaded in: one registry, which all others follow.

Each has a writer in `worker.trainer.kinds.export`, unless the result holds the file already.
"""

from collections.abc import Mapping
from typing import Literal

from ddcal_core.specs.formats.comparison_formats import COMPARISON_FORMATS, ComparisonFormat
from ddcal_core.specs.formats.expert_formats import EXPERT_FORMATS, ExpertFormat
from ddcal_core.specs.formats.format_facts import FormatFacts
from ddcal_core.specs.formats.model_formats import (
    CALIBRATION_FORMATS,
    MODEL_FORMATS,
    ModelFormat,
)
from ddcal_core.specs.formats.report_formats import REPORT_FORMATS, ReportFormat
from ddcal_core.specs.formats.set_formats import SET_FORMATS, SetFormat
from ddcal_core.specs.results import Resource

ExportFormat = Literal[ExpertFormat, SetFormat, ModelFormat, ReportFormat, ComparisonFormat]
"""Every format's word, whatever it is of."""

FORMATS: Mapping[Resource, Mapping[ExportFormat, FormatFacts]] = {
    "expert_set": dict(EXPERT_FORMATS.items()),
    "distilled_set": dict(SET_FORMATS.items()),
    "model": dict(MODEL_FORMATS.items()),
    "calibration": dict(CALIBRATION_FORMATS.items()),
    "report": dict(REPORT_FORMATS.items()),
    "comparison": dict(COMPARISON_FORMATS.items()),
}
EXPORTED_FILES = frozenset(
    facts.file_name
    for formats in FORMATS.values()
    for facts in formats.values()
    if not facts.is_stored
)
"""Names of files that exports write."""
_OF_MODELS = ("model.safetensors", "model.onnx", "config.json", "input_space.safetensors")
FILES_READ: Mapping[Resource, tuple[str, ...]] = {
    "expert_set": (),
    "distilled_set": ("distilled_set.safetensors",),
    "model": _OF_MODELS,
    "calibration": (*_OF_MODELS, "scaling.json"),
    "report": ("report.json",),
    "comparison": ("comparison.csv",),
}
"""What exports are made from: files of the result, where it has them."""
