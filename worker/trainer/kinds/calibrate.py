"""`calibrate`: every model under every calibration spec; a temperature or a status each.

Uploaded logits, which have no model here, are for `calibrate_logits`.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import assert_never

import torch
from torch.export import ExportedProgram

from ddcal_core.calibration.isotonic import IsotonicScaling
from ddcal_core.calibration.vector_scaling import VectorScaling
from ddcal_core.formats.calibrations import CalibrationValues
from ddcal_core.formats.models import (
    INPUT_SPACE_FILE,
    calibrated_config,
    export_program,
    save_program,
)
from ddcal_core.formats.records import write_json
from ddcal_core.progress import Progress
from ddcal_core.specs.kinds.calibrate import CalibrateParams
from worker.trainer.fitting.calibration_images import CalibrationImages
from worker.trainer.fitting.calibrations import Found, write_scaling
from worker.trainer.fitting.fitting import Fitter
from worker.trainer.inputs import ModelInput, NetworksInput, Task, parse_json
from worker.trainer.loading import load_model
from worker.trainer.outputs import Output

PHASE = "calibrate"


def run(task: Task) -> list[Output]:
    """Calibrate; one calibration a model and spec comes out, models outermost."""
    params = parse_json(CalibrateParams, task.params)
    inputs = parse_json(NetworksInput, task.inputs)
    images = CalibrationImages(inputs.dataset, inputs.distilled_sets, task.device)
    n_steps = len(inputs.models) * len(params.calibrate)
    task.on_progress(Progress(phase=PHASE, step=0, steps=n_steps))
    outputs: list[Output] = []
    for model in inputs.models:
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
        found = fitter.fit(spec)
        folder = task.folder / f"{model.id}_{index}"
        folder.mkdir()
        files = _write_files(folder, model, found, program)
        yield Output("calibration", folder.name, found.values.as_json(), files)


def _write_files(
    folder: Path, model: ModelInput, found: Found[CalibrationValues], program: ExportedProgram
) -> tuple[Path, ...]:
    """Write the model as it was, what was found, and the program that has it inside."""
    weights, config = folder / "model.safetensors", folder / "config.json"
    # The very bytes of the model's own file, so that the artifact store can tell they are.
    weights.write_bytes(model.path.read_bytes())
    exported = _write_program(folder / "calibrated_model.pt2", found, program)
    said = calibrated_config(
        model.config, found.values, apply=found.apply, has_program=bool(exported)
    )
    write_json(config, said.as_json())
    files = (*exported, weights, config, *write_scaling(folder, found))
    if model.input_space_path is None:
        return files
    space = folder / INPUT_SPACE_FILE
    space.write_bytes(model.input_space_path.read_bytes())
    return (*files, space)


def _write_program(
    path: Path, found: Found[CalibrationValues], program: ExportedProgram
) -> tuple[Path, ...]:
    """Write the program with what was found folded in, where it can be.

    An isotonic scaling has none: its functions, thousands of numbers, stand in scaling.json.
    Neither has a vector scaling of logits that mask classes.
    """
    scaling, temperature = found.scaling, found.values.temperature
    match scaling:
        case VectorScaling(masked_gap=None):
            save_program(program, 1.0, path, weights=scaling.weights, biases=scaling.biases)
        case VectorScaling() | IsotonicScaling():
            return ()
        case None:
            if temperature is None:
                return ()
            save_program(program, temperature, path)
        case _:
            assert_never(scaling)
    return (path,)
