"""`export`: a result in the format of another library; one file of it comes out."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import assert_never

from ddcal_core.formats.exports.exported_set import ExportedSet
from ddcal_core.formats.exports.image_folder import write_image_folder
from ddcal_core.formats.sets import read_distilled_set
from ddcal_core.progress import Progress
from ddcal_core.specs.exports import ExportedResource, ExportFormat, formats_of
from worker.trainer.inputs import Input, SetInput, Task, parse_json
from worker.trainer.loading import space_of_set
from worker.trainer.outputs import Output

PHASE = "export"


class ReportInput(Input):
    """A report that a card tells of."""

    id: str
    path: Path


class SetExportInput(Input):
    """A distilled set, and what has been found of it."""

    distilled_set: SetInput
    reports: tuple[ReportInput, ...]


SET_WRITERS: Mapping[ExportFormat, Callable[[Path, ExportedSet], None]] = {
    "imagefolder": write_image_folder,
}


def run(task: Task) -> list[Output]:
    """Write the one file that is asked for."""
    resource: ExportedResource = task.params["resource"]
    word: ExportFormat = task.params["format"]
    task.on_progress(Progress(phase=PHASE, step=0, steps=1))
    path = task.folder / formats_of(resource)[word].file_name
    match resource:
        case "distilled_set":
            SET_WRITERS[word](path, _exported_set(parse_json(SetExportInput, task.inputs)))
        case _:
            assert_never(resource)
    task.on_progress(Progress(phase=PHASE, step=1, steps=1))
    return [Output("export", word, {}, (path,))]


def _exported_set(given: SetExportInput) -> ExportedSet:
    distilled = given.distilled_set
    stored = read_distilled_set(distilled.path, distilled.manifest.facts)
    return ExportedSet(distilled.manifest, stored, space_of_set(distilled))
