"""Models in the formats people load, and the way back; distilled sets are in `sets`.

A calibrated program takes pixels in [0, 1]; its config says so. Nothing here is pickled.
"""

from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram, export
from torch.export import save as save_exported

from ddcal_core.data.input_space import InputSpace, space_of_tensors, space_tensors
from ddcal_core.errors import InvalidDataError
from ddcal_core.formats.calibrations import CalibrationValues
from ddcal_core.formats.foreign_networks import OnnxNetwork, foreign_model, foreign_module
from ddcal_core.formats.manifests import (
    CalibratedModelConfig,
    DescribedSpace,
    ModelConfig,
    ModelProvenance,
)
from ddcal_core.formats.records import write_json
from ddcal_core.formats.tensor_files import read_tensors
from ddcal_core.networks import empty_network
from ddcal_core.specs.foreign_networks import ForeignNetwork, is_onnx
from ddcal_core.specs.spaces import StandardSpace

PROGRAM_SPACE = (
    "pixels: float32 in [0, 1], shape (N, C, H, W); normalisation or whitening is inside"
)
MODEL_FILE, GRAPH_FILE = "model.safetensors", "model.onnx"
INPUT_SPACE_FILE = "input_space.safetensors"
CALIBRATED_PROGRAM, CALIBRATED_GRAPH = "calibrated_model.pt2", "calibrated_model.onnx"


class CalibratedNetwork(nn.Module):
    """Pixels in, calibrated probabilities out: normalise, network, scale, softmax.

    Scaled are logits less their row's mean: divided by T, times a weight, plus a bias per class;
    weights 1 and biases 0 until `save_program` is told others.

    Args:
        network: network-input space (N, C, H, W) -> logits (N, K).
        space: what the network reads of pixels.
        n_classes: K.
    """

    temperature: Tensor
    weights: Tensor
    biases: Tensor

    def __init__(self, network: nn.Module, space: InputSpace, n_classes: int) -> None:
        super().__init__()
        self.network, self.input_space = network, space
        self.register_buffer("temperature", torch.tensor(1.0))
        self.register_buffer("weights", torch.ones(n_classes))
        self.register_buffer("biases", torch.zeros(n_classes))

    def set_scaling(
        self, temperature: float, weights: Sequence[float] | None, biases: Sequence[float] | None
    ) -> None:
        """Scale by other numbers; None is for ones and zeros."""
        self.temperature.fill_(temperature)
        for buffer, values in ((self.weights, weights), (self.biases, biases)):
            if values is not None:
                buffer.copy_(torch.tensor(values))

    def forward(self, pixels: Tensor) -> Tensor:
        """Give probabilities float32 (N, K) of pixels float32 (N, C, H, W) in [0, 1].

        Raises:
            RuntimeError: they are of another dtype: uint8 from 0 to 255 would give wrong numbers.
        """
        # An operator, so that it stands in exported programs as well.
        torch.ops.aten._assert_tensor_metadata(pixels, dtype=torch.float32)
        return self.scaled(self.network(self.input_space(pixels)))

    def scaled(self, logits: Tensor) -> Tensor:
        """Give probabilities (N, K) of logits (N, K)."""
        centred = logits - logits.mean(1, keepdim=True)
        return torch.softmax(centred / self.temperature * self.weights + self.biases, 1)


def export_program(network: nn.Module, space: InputSpace) -> ExportedProgram:
    """Export a network with its input space and temperature 1 folded in.

    The example input is zeros, so that no image leaks into the file.

    Args:
        network: on the CPU, in evaluation mode.
        space: what the network reads of pixels; on the CPU.

    Returns:
        A program from pixels float32 (N, C, H, W) in [0, 1], any N >= 1, to probabilities (N, K).
    """
    example = torch.zeros(2, *space.facts.image_shape)
    with torch.no_grad():
        n_classes = network(space(example)).shape[1]
    wrapped = CalibratedNetwork(network, space, n_classes).eval().requires_grad_(False)
    return export(wrapped, (example,), dynamic_shapes=({0: Dim("N", min=1)},), strict=False)


def save_program(
    program: ExportedProgram,
    temperature: float,
    path: Path,
    *,
    weights: Sequence[float] | None = None,
    biases: Sequence[float] | None = None,
) -> None:
    """Write an exported program with another temperature, or another scaling a class, in it.

    Exporting is slow and saving quick, so one export serves every calibration of a network.

    Args:
        program: from `export_program`; its scaling is replaced.
        temperature: T > 0, finite; 1 for vector scaling, whose weights hold the scale.
        path: of the .pt2 file.
        weights: K of them, for logits less their row's mean; None for ones.
        biases: K of them; None for zeros.
    """
    state = program.state_dict
    state["temperature"] = torch.tensor(temperature)
    for name, values, default in (("weights", weights, 1.0), ("biases", biases, 0.0)):
        state[name] = torch.full_like(state[name], default)
        if values is not None:
            state[name] = state[name].new_tensor(values)
    save_exported(program, path)


def read_input_space(path: Path, described: DescribedSpace) -> InputSpace:
    """Rebuild the input space that a distilled set or a model was made in.

    Args:
        path: of the set's distilled_set.safetensors or the model's input_space.safetensors, which
            the standard space does not need.
        described: the set's manifest, or the model's config.

    Raises:
        InvalidDataError: the file does not hold what the space is made of.
    """
    spec = described.input_space
    tensors = {} if isinstance(spec, StandardSpace) else read_tensors(path)
    return space_of_tensors(spec, tensors, described.facts)


def write_model(
    folder: Path, network: nn.Module, *, space: InputSpace, provenance: ModelProvenance
) -> ModelConfig:
    """Write model.safetensors (the network's parameters), config.json and a whitened input space.

    Args:
        folder: an existing folder.
        network: on any device.
        space: what it read of pixels; with the facts of the data set it was trained on.
        provenance: how it was trained.

    Returns:
        The config.
    """
    config = ModelConfig(**dict(provenance), **dict(DescribedSpace.of(space.spec, space.facts)))
    weights = {key: value.cpu().contiguous() for key, value in network.state_dict().items()}
    save_file(weights, folder / MODEL_FILE)
    if tensors := space_tensors(space):
        save_file(tensors, folder / INPUT_SPACE_FILE)
    write_json(folder / "config.json", config.as_json())
    return config


def model_files(folder: Path) -> tuple[Path, ...]:
    """Give the paths of all that `write_model` has written into a folder."""
    space = folder / INPUT_SPACE_FILE
    files = (folder / MODEL_FILE, folder / "config.json")
    return (*files, space) if space.exists() else files


def read_model(path: Path, config: ModelConfig) -> nn.Module:
    """Rebuild a network from its parameters and config.

    Args:
        path: of a model.safetensors, or of the model.onnx of a graph made elsewhere.
        config: its config.json.

    Returns:
        Images in the standard space -> logits (N, K), on the CPU, in evaluation mode. What
        `export_program` takes, but for a graph of ONNX.

    Raises:
        InvalidDataError: the parameters are not those of that network.
    """
    if config.imported is not None:
        if is_onnx(config.network):
            network: nn.Module = OnnxNetwork(path, config.imported.batch)
        else:
            network = foreign_module(
                read_tensors(path), config.network, config.imported.input_shape, config.facts
            )
        return foreign_model(network, config.imported, config.facts)
    assert not isinstance(config.network, ForeignNetwork)  # it would be imported
    network = empty_network(config.network, config.facts)
    try:
        network.load_state_dict(read_tensors(path))
    except RuntimeError as error:
        raise InvalidDataError(
            f"wanted the parameters of {config.network.described()} in {path.name}; {error}"
        ) from error
    return network.eval()


def model_file(config: ModelConfig) -> str:
    """The name of the file that holds a model."""
    return GRAPH_FILE if is_onnx(config.network) else MODEL_FILE


def calibrated_config(
    config: ModelConfig, calibration: CalibrationValues, *, apply: str | None, has_program: bool
) -> CalibratedModelConfig:
    """Give the config.json of a calibrated model: the model's own, and what was fitted.

    Args:
        config: of the model.
        calibration: what was found.
        apply: logits -> probabilities, as a formula or in words; None where nothing was found.
        has_program: whether a file lies beside it that has the calibration inside.
    """
    folded, how = CALIBRATED_PROGRAM, "torch.export.load('{}').module()(pixels)"
    if is_onnx(config.network):
        folded = CALIBRATED_GRAPH
        how = "onnxruntime.InferenceSession('{}').run(['probabilities'], {{'pixels': pixels}})[0]"
    nothing = f"none: the fit is {calibration.status}, there is nothing to apply"
    reads = "network(x), x of pixels as `space` says"
    if config.imported is not None:
        reads = "what it answers, as it came in: `imported` says what it reads of pixels, and how"
    no_program = "none: this calibration is applied by hand" if apply else nothing
    return CalibratedModelConfig(
        **{name: value for name, value in dict(config).items() if name != "format"},
        temperature=calibration.temperature,
        calibration=calibration,
        how_to_use={
            model_file(config): f"logits = {reads}; probabilities = {apply or nothing}",
            folded: f"{how.format(folded)} -> probabilities; {PROGRAM_SPACE}"
            if has_program
            else no_program,
        },
    )
