"""`calibrate`: every model under every calibration spec; a temperature or a status each.

Uploaded logits, which have no model here, are for `calibrate_logits`.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch.export import ExportedProgram

from ddcal_core.export import (
    INPUT_SPACE_FILE,
    calibrated_config,
    export_program,
    save_program,
    write_json,
)
from ddcal_core.progress import Progress
from ddcal_core.specs import CalibrateParams
from worker.calibration_images import CalibrationImages
from worker.fitting import Fitter
from worker.inputs import (
    DatasetInput,
    ModelInput,
    SetInput,
    Task,
    load_model,
    parse_json,
)
from worker.kinds import calibrate_logits
from worker.outputs import Output

PHASE = "calibrate"


def run(task: Task) -> list[Output]:
    """Calibrate; one calibration a model and spec comes out, models outermost."""
    if "logits" in task.inputs:
        return calibrate_logits.run(task)
    params = parse_json(CalibrateParams, task.params)
    models = [parse_json(ModelInput, value) for value in task.inputs["models"]]
    images = CalibrationImages(
        parse_json(DatasetInput, task.inputs["dataset"]),
        {key: parse_json(SetInput, value) for key, value in task.inputs["distilled_sets"].items()},
        task.device,
    )
    n_steps = len(models) * len(params.calibrate)
    task.on_progress(Progress(phase=PHASE, step=0, steps=n_steps))
    outputs: list[Output] = []
    for model in models:
        for output in _calibrated(model, params, images, task):
            outputs.append(output)
            task.on_progress(Progress(phase=PHASE, step=len(outputs), steps=n_steps))
    return outputs


def _calibrated(
    model: ModelInput, params: CalibrateParams, images: CalibrationImages, task: Task
) -> Iterator[Output]:
    network = load_model(model, task.device)
    fitter = Fitter(network, model, images, seed=params.seed, on_progress=task.on_progress)
    # From the CPU, so that the program runs wherever its user loads it.
    on_cpu = load_model(model, torch.device("cpu"))
    program = export_program(on_cpu, images.space_of(model))
    for index, spec in enumerate(params.calibrate):
        values = {
            "model_id": model.id,
            **{key: model.config[key] for key in _OF_THE_MODEL},
            **fitter.fit(spec),
        }
        folder = task.folder / f"{model.id}_{index}"
        folder.mkdir()
        files = _write_files(folder, model, values, program)
        yield Output("calibration", folder.name, values, files)


_OF_THE_MODEL = ("dataset", "training_set", "distilled_set_id", "images_per_class", "seed_index")


def _write_files(
    folder: Path, model: ModelInput, values: Mapping[str, Any], program: ExportedProgram
) -> tuple[Path, ...]:
    weights, config = folder / "model.safetensors", folder / "config.json"
    # The very bytes of the model's own file, so that the artifact store can tell they are.
    weights.write_bytes(model.path.read_bytes())
    write_json(config, calibrated_config(model.config, values))
    files: tuple[Path, ...] = (weights, config)
    if model.input_space_path is not None:
        space = folder / INPUT_SPACE_FILE
        space.write_bytes(model.input_space_path.read_bytes())
        files = (*files, space)
    if values["temperature"] is None:
        return files
    exported = folder / "calibrated_model.pt2"
    save_program(program, values["temperature"], exported)
    return (exported, *files)
