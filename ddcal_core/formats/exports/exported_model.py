"""A network, as it is or calibrated, in the formats that others load."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ddcal_core.errors import FoldingError
from ddcal_core.formats.calibrations import VectorScalingFile, read_scaling_file
from ddcal_core.formats.exports.archives import write_zip
from ddcal_core.formats.exports.cards import Card, Declared, write_card
from ddcal_core.formats.exports.evidence import Measured
from ddcal_core.formats.exports.model_card import model_card
from ddcal_core.formats.manifests import CalibratedModelConfig, ModelConfig
from ddcal_core.formats.models import (
    GRAPH_FILE,
    INPUT_SPACE_FILE,
    export_program,
    read_input_space,
    read_model,
    save_program,
)
from ddcal_core.formats.onnx_folding import write_folded
from ddcal_core.formats.onnx_models import write_onnx
from ddcal_core.formats.records import read_record
from ddcal_core.specs.foreign_networks import is_onnx

WEIGHTS_FILE, CONFIG_FILE, SCALING_FILE = "model.safetensors", "config.json", "scaling.json"


@dataclass(frozen=True)
class ExportedModel:
    """A network to be written in another format.

    Attributes:
        config: what its config.json says.
        files: its files by name: weights, config, and what there is besides.
        measured: what reports have found of it.
        declared: of the data set.
    """

    config: ModelConfig
    files: Mapping[str, Path]
    measured: Sequence[Measured]
    declared: Declared

    @property
    def scaling(self) -> dict[str, Any]:
        """What is to be folded in, as `save_program` and `write_onnx` take it.

        Raises:
            FoldingError: there is nothing, or it is no formula that they have.
        """
        if not isinstance(self.config, CalibratedModelConfig):
            return {"temperature": 1.0}
        if SCALING_FILE not in self.files:
            return {"temperature": self._temperature(self.config)}
        found = read_scaling_file(self.files[SCALING_FILE])
        if not isinstance(found, VectorScalingFile) or found.masked_gap is not None:
            raise FoldingError(
                "wanted a calibration that can be folded into the network; got one that is applied "
                f"by hand: {found.apply}"
            )
        return {"temperature": 1.0, "weights": found.weights, "biases": found.biases}

    def _temperature(self, config: CalibratedModelConfig) -> float:
        if config.temperature is None:
            status = config.calibration.status
            raise FoldingError(f"wanted a calibration that has found something; it is {status}")
        return config.temperature


def exported_model(
    files: Mapping[str, Path], measured: Sequence[Measured], declared: Declared
) -> ExportedModel:
    """Take a network from its files.

    Args:
        files: by name; config.json says whether it is calibrated.
        measured: what reports have found of it.
        declared: of the data set.

    Raises:
        InvalidDataError: its config is of a version not known here.
    """
    held = json.loads(files[CONFIG_FILE].read_text(encoding="utf-8"))
    record = CalibratedModelConfig if "calibration" in held else ModelConfig
    return ExportedModel(read_record(record, held), files, measured, declared)


def write_model_zip(path: Path, exported: ExportedModel) -> None:
    """Write a zip of the network's files as they are, and its card."""
    files = [(name, file.read_bytes()) for name, file in sorted(exported.files.items())]
    write_zip(path, [("README.md", _card(exported).text().encode()), *files])


def write_network_card(path: Path, exported: ExportedModel) -> None:
    """Write the card by itself."""
    write_card(path, _card(exported))


def _card(exported: ExportedModel) -> Card:
    return model_card(exported.config, exported.measured, exported.declared)


def write_model_onnx(path: Path, exported: ExportedModel) -> None:
    """Write the network as ONNX, its input space and calibration folded in.

    Raises:
        FoldingError: the calibration cannot be folded in.
    """
    scaling = exported.scaling
    if is_onnx(exported.config.network):
        write_folded(exported.files[GRAPH_FILE], exported.config, path, **scaling)
        return
    weights = exported.files[WEIGHTS_FILE]
    space_file = exported.files.get(INPUT_SPACE_FILE, weights)
    space = read_input_space(space_file, exported.config)
    write_onnx(read_model(weights, exported.config), space, path, **scaling)


def write_model_program(path: Path, exported: ExportedModel) -> None:
    """Write the network as a program of torch.export, likewise.

    Raises:
        FoldingError: the calibration cannot be folded in.
    """
    scaling = exported.scaling
    weights = exported.files[WEIGHTS_FILE]
    space_file = exported.files.get(INPUT_SPACE_FILE, weights)
    space = read_input_space(space_file, exported.config)
    program = export_program(read_model(weights, exported.config), space)
    temperature = scaling.pop("temperature")
    save_program(program, temperature, path, **scaling)
