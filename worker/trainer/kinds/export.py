"""`export`: a result in the format of another library; one file of it comes out."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, assert_never

from ddcal_core.formats.exports.cards import Declared
from ddcal_core.formats.exports.comparison_table import write_comparison_parquet
from ddcal_core.formats.exports.evidence import (
    Counts,
    Evidence,
    Measured,
    of_calibration,
    of_model,
    trained_on_set,
)
from ddcal_core.formats.exports.exported_model import (
    ExportedModel,
    exported_model,
    write_model_onnx,
    write_model_program,
    write_model_zip,
    write_network_card,
)
from ddcal_core.formats.exports.exported_set import ExportedSet
from ddcal_core.formats.exports.hugging_face import write_hugging_face
from ddcal_core.formats.exports.image_folder import write_image_folder
from ddcal_core.formats.exports.report_table import write_report_csv, write_report_parquet
from ddcal_core.formats.exports.set_card import write_set_card
from ddcal_core.formats.exports.torch_files import write_dc_file, write_mtt_zip
from ddcal_core.formats.exports.webdataset_tar import write_webdataset
from ddcal_core.formats.manifests import SetManifest
from ddcal_core.formats.models import read_input_space
from ddcal_core.formats.records import read_record
from ddcal_core.formats.reports import Report, read_report
from ddcal_core.formats.sets import read_distilled_set
from ddcal_core.progress import Progress
from ddcal_core.specs.exports import FORMATS, ExportFormat
from ddcal_core.specs.results import Resource
from worker.trainer.inputs import Input, Task, parse_json
from worker.trainer.outputs import Output
from worker.trainer.report.page.figure_files import write_figures

PHASE = "export"


class FileInput(Input):
    """A file of the result."""

    path: Path


class ReportInput(Input):
    """A report that a card tells of."""

    id: str
    path: Path


class ExportInput(Input):
    """A result, and what has been found of it.

    Attributes:
        details: what its job reported of it.
        files: those that it has of `FILES_READ`, by name.
        reports: the newest first.
    """

    details: dict[str, Any]
    files: dict[str, FileInput]
    reports: tuple[ReportInput, ...]


SET_WRITERS: Mapping[ExportFormat, Callable[[Path, ExportedSet], None]] = {
    "imagefolder": write_image_folder,
    "huggingface": write_hugging_face,
    "webdataset": write_webdataset,
    "dc": write_dc_file,
    "mtt": write_mtt_zip,
    "card": write_set_card,
}
MODEL_WRITERS: Mapping[ExportFormat, Callable[[Path, ExportedModel], None]] = {
    "safetensors": write_model_zip,
    "onnx": write_model_onnx,
    "pt2": write_model_program,
    "card": write_network_card,
}
REPORT_WRITERS: Mapping[ExportFormat, Callable[[Path, Report], None]] = {
    "csv": write_report_csv,
    "parquet": write_report_parquet,
    "figures": write_figures,
}
COMPARISON_WRITERS: Mapping[ExportFormat, Callable[[Path, Path], None]] = {
    "parquet": write_comparison_parquet,
}


def run(task: Task) -> list[Output]:
    """Write the one file that is asked for."""
    resource: Resource = task.params["resource"]
    word: ExportFormat = task.params["format"]
    given = parse_json(ExportInput, task.inputs)
    path = task.folder / FORMATS[resource][word].file_name
    task.on_progress(Progress(phase=PHASE, step=0, steps=1))
    match resource:
        case "distilled_set":
            SET_WRITERS[word](path, _exported_set(given, task.params))
        case "model" | "calibration":
            MODEL_WRITERS[word](path, _exported_model(given, task.params))
        case "report":
            report = read_report(given.files["report.json"].path.read_bytes())
            REPORT_WRITERS[word](path, report)
        case "comparison":
            COMPARISON_WRITERS[word](path, given.files["comparison.csv"].path)
        case "expert_set":
            raise ValueError(f"wanted a format that is not there, got {word} of {resource}")
        case _:
            assert_never(resource)
    task.on_progress(Progress(phase=PHASE, step=1, steps=1))
    return [Output("export", word, {}, (path,))]


def _exported_set(given: ExportInput, params: Mapping[str, Any]) -> ExportedSet:
    manifest = read_record(SetManifest, given.details)
    path = given.files["distilled_set.safetensors"].path
    return ExportedSet(
        manifest=manifest,
        stored=read_distilled_set(path, manifest.facts),
        space=read_input_space(path, manifest),
        measured=_measured(given, trained_on_set(params["result"])),
        declared=Declared(**params["declared"]),
    )


def _exported_model(given: ExportInput, params: Mapping[str, Any]) -> ExportedModel:
    of_result = of_model if params["resource"] == "model" else of_calibration
    files = {name: file.path for name, file in given.files.items()}
    measured = _measured(given, of_result(params["result"]))
    return exported_model(files, measured, Declared(**params["declared"]))


def _measured(given: ExportInput, counts: Counts) -> list[Measured]:
    reports = {one.id: read_report(one.path.read_bytes()) for one in given.reports}
    return Evidence(reports=reports, counts=counts).lines()
