"""`calibrate`: every model under every calibration spec; a temperature or a status each.

Uploaded logits, which have no model here, are for `calibrate_logits`.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol, assert_never

from ddcal_core.calibration.ensemble import EnsembleScaling
from ddcal_core.calibration.isotonic import IsotonicScaling
from ddcal_core.calibration.vector_scaling import VectorScaling
from ddcal_core.data.input_space import InputSpace
from ddcal_core.formats.calibrations import CalibrationValues
from ddcal_core.formats.models import (
    CALIBRATED_GRAPH,
    CALIBRATED_PROGRAM,
    INPUT_SPACE_FILE,
    calibrated_config,
    export_program,
    model_file,
    read_model,
    save_program,
)
from ddcal_core.formats.onnx_folding import write_folded
from ddcal_core.formats.records import write_json
from ddcal_core.progress import Progress
from ddcal_core.specs.foreign_networks import is_onnx
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
    fold = _folding(model, images.space_of(model))
    for index, spec in enumerate(params.calibrate):
        found = fitter.fit(spec)
        folder = task.folder / f"{model.id}_{index}"
        folder.mkdir()
        files = _write_files(folder, model, found, fold)
        yield Output("calibration", folder.name, found.values.as_json(), files)


class _Fold(Protocol):
    """Writes a network into a folder with a calibration inside; gives the file."""

    def __call__(
        self,
        folder: Path,
        temperature: float,
        *,
        weights: Sequence[float] | None = None,
        biases: Sequence[float] | None = None,
    ) -> Path:
        """Write it, see `save_program` and `write_folded`."""


def _folding(model: ModelInput, space: InputSpace) -> _Fold:
    """How a calibration of a network is folded in: a program for PyTorch, or ONNX of ONNX."""
    if is_onnx(model.config.network):

        def fold_graph(folder: Path, temperature: float, **scaling: Any) -> Path:  # noqa: ANN401
            path = folder / CALIBRATED_GRAPH
            write_folded(model.path, model.config, path, temperature=temperature, **scaling)
            return path

        return fold_graph
    # From the CPU, so that the program runs wherever its user loads it; one export serves all.
    program = export_program(read_model(model.path, model.config), space)

    def fold_program(folder: Path, temperature: float, **scaling: Any) -> Path:  # noqa: ANN401
        path = folder / CALIBRATED_PROGRAM
        save_program(program, temperature, path, **scaling)
        return path

    return fold_program


def _write_files(
    folder: Path, model: ModelInput, found: Found[CalibrationValues], fold: _Fold
) -> tuple[Path, ...]:
    """Write the model as it was, what was found, and the model that has it inside."""
    as_it_was, config = folder / model_file(model.config), folder / "config.json"
    # The very bytes of the model's own file, so that the artifact store can tell they are.
    as_it_was.write_bytes(model.path.read_bytes())
    folded = _write_folded(folder, found, fold)
    said = calibrated_config(
        model.config, found.values, apply=found.apply, has_program=bool(folded)
    )
    write_json(config, said.as_json())
    files = (*folded, as_it_was, config, *write_scaling(folder, found))
    if model.input_space_path is None:
        return files
    space = folder / INPUT_SPACE_FILE
    space.write_bytes(model.input_space_path.read_bytes())
    return (*files, space)


def _write_folded(folder: Path, found: Found[CalibrationValues], fold: _Fold) -> tuple[Path, ...]:
    """Write the network with what was found folded in, where it can be.

    An isotonic scaling cannot: its functions, thousands of numbers, stand in scaling.json.
    Neither can a vector scaling of logits that mask classes, nor an ensemble, which is no softmax.
    """
    scaling, temperature = found.scaling, found.values.temperature
    match scaling:
        case VectorScaling(masked_gap=None):
            return (fold(folder, 1.0, weights=scaling.weights, biases=scaling.biases),)
        case VectorScaling() | IsotonicScaling() | EnsembleScaling():
            return ()
        case None:
            return () if temperature is None else (fold(folder, temperature),)
        case _:
            assert_never(scaling)
