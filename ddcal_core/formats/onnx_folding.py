"""Graphs of ONNX that were made elsewhere, with their preparation and a calibration folded in."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, helper, numpy_helper

from ddcal_core.formats.foreign_networks import SMALLEST, stretching
from ddcal_core.formats.imported_networks import ImportedNetwork
from ddcal_core.formats.manifests import ModelConfig
from ddcal_core.formats.models import CalibratedNetwork, read_input_space, read_model
from ddcal_core.formats.onnx_checks import inspect_onnx, read_onnx
from ddcal_core.formats.onnx_models import (
    LOGITS,
    PIXELS,
    PROBABILITIES,
    WithLogits,
    compare_with_onnx,
)

_PREFIX = "network/"
_N_TRIED = 3


def write_folded(
    model: Path,
    config: ModelConfig,
    path: Path,
    *,
    temperature: float = 1.0,
    weights: Sequence[float] | None = None,
    biases: Sequence[float] | None = None,
) -> None:
    """Write a graph as an ONNX file that takes pixels and gives calibrated probabilities.

    Its ends are those that `write_onnx` gives: `pixels`, as the data set has them, float32 in
    [0, 1]; `probabilities`, and `logits` as they were before. The steps between are the graph's
    own, its names behind "network/". A graph that is fixed to a number of images stays so.

    Args:
        model: the model.onnx that was imported.
        config: its config.json.
        path: of the file to write.
        temperature: T > 0, finite; 1 for vector scaling, whose weights hold the scale.
        weights: K of them, for logits less their row's mean; None for ones.
        biases: K of them; None for zeros.

    Raises:
        FoldingError: ONNX Runtime computes other numbers of it than of the graph.
        InvalidDataError: the file does not hold such a graph.
    """
    assert config.imported is not None
    graph = read_onnx(model.read_bytes())
    inspect_onnx(graph)
    scaling = _Scaling(config.facts.n_classes, temperature, weights, biases)
    folded = _folded(graph, config, config.imported, scaling)
    held = folded.SerializeToString()
    space = read_input_space(model, config)
    calibrated = CalibratedNetwork(read_model(model, config), space, config.facts.n_classes)
    calibrated.set_scaling(temperature, weights, biases)
    whole = WithLogits(calibrated).eval()
    n_tried = config.imported.batch or _N_TRIED
    compare_with_onnx(held, whole, config.facts.image_shape, {n_tried, config.imported.batch or 1})
    path.write_bytes(held)


class _Scaling:
    """Steps from logits to probabilities: softmax of logits / T, or of (logits - mean) w + b."""

    def __init__(
        self,
        n_classes: int,
        temperature: float,
        weights: Sequence[float] | None,
        biases: Sequence[float] | None,
    ) -> None:
        self._temperature = temperature
        self._matrix: NDArray[np.float32] | None = None
        self._biases = np.zeros(n_classes, np.float32)
        if biases is not None:
            self._biases = np.array(biases, np.float32)
        if weights is not None or biases is not None:
            each = np.ones(n_classes) if weights is None else np.array(weights)
            centring = np.eye(n_classes) - 1 / n_classes
            self._matrix = (centring * each / temperature).astype(np.float32)

    def add_to(self, steps: "_Steps") -> None:
        """Go on from the logits."""
        if self._matrix is None:
            steps.then("Div", np.float32(self._temperature))
        else:
            steps.then("MatMul", self._matrix)
            steps.then("Add", self._biases)
        steps.then("Softmax", axis=1)


class _Steps:
    """A chain of nodes, each of which takes what the one before has given."""

    def __init__(self, start: str, prefix: str) -> None:
        self.now, self._prefix = start, prefix
        self.nodes: list[NodeProto] = []
        self.numbers: list[TensorProto] = []

    def then(self, kind: str, *others: NDArray[Any] | np.float32, **attributes: Any) -> None:  # noqa: ANN401 -- ONNX's
        """Add a node; numbers of its own are its further inputs."""
        self._add(kind, [self.now, *map(self._held, others)], attributes)

    def times_from_left(self, matrix: NDArray[np.float32]) -> None:
        """Multiply each channel by a matrix in front of it."""
        self._add("MatMul", [self._held(matrix), self.now], {})

    def repeat(self, n_times: int) -> None:
        """Put the one channel side by side."""
        self._add("Concat", [self.now] * n_times, {"axis": 1})

    def end_as(self, name: str) -> None:
        """Call what there is now by a name."""
        self.nodes.append(helper.make_node("Identity", [self.now], [name], name=f"to_{name}"))
        self.now = name

    def _add(self, kind: str, inputs: list[str], attributes: Mapping[str, Any]) -> None:
        name = f"{self._prefix}{kind}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, inputs, [name], name=name, **attributes))
        self.now = name

    def _held(self, numbers: NDArray[Any] | np.float32) -> str:
        name = f"{self._prefix}numbers_{len(self.numbers)}"
        self.numbers.append(numpy_helper.from_array(np.asarray(numbers), name))
        return name


def _folded(
    graph: onnx.ModelProto, config: ModelConfig, imported: ImportedNetwork, scaling: _Scaling
) -> onnx.ModelProto:
    whole = onnx.compose.add_prefix(graph, _PREFIX, inplace=True)
    own = whole.graph
    weights = {one.name for one in own.initializer}
    (entry,) = (one.name for one in own.input if one.name not in weights)
    (answer,) = (one.name for one in own.output)
    before = _preparation(config.facts.image_shape, imported)
    before.end_as(entry)
    after = _Steps(answer, "answers/")
    if imported.outputs == "probabilities":
        after.then("Max", np.float32(SMALLEST))
        after.then("Log")
    if imported.columns is not None:
        after.then("Gather", np.array(imported.columns, np.int64), axis=1)
    after.end_as(LOGITS)
    scaling.add_to(after)
    after.end_as(PROBABILITIES)
    nodes = [*before.nodes, *own.node, *after.nodes]
    del own.node[:], own.input[:], own.output[:], own.value_info[:]
    own.node.extend(nodes)
    own.initializer.extend([*before.numbers, *after.numbers])
    n_images: int | str = imported.batch or "N"
    shape = [n_images, *config.facts.image_shape]
    own.input.append(helper.make_tensor_value_info(PIXELS, TensorProto.FLOAT, shape))
    for name in (PROBABILITIES, LOGITS):
        sizes = [n_images, config.facts.n_classes]
        own.output.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, sizes))
    # Before version 4 of the format, all numbers had to be inputs, too.
    whole.ir_version = max(whole.ir_version, 4)
    del whole.metadata_props[:]
    helper.set_model_props(whole, {"class_names": json.dumps(config.facts.class_names)})
    return whole


def _preparation(image_shape: tuple[int, int, int], imported: ImportedNetwork) -> _Steps:
    """From pixels: resampled, repeated in three channels, standardised, channels last."""
    steps = _Steps(PIXELS, "preparation/")
    n_channels, height, width = imported.input_shape
    if (height, width) != image_shape[1:]:
        rows = stretching(image_shape[1], height).numpy()
        columns = np.ascontiguousarray(stretching(image_shape[2], width).numpy().T)
        steps.times_from_left(rows)
        steps.then("MatMul", columns)
    if n_channels != image_shape[0]:
        steps.repeat(n_channels)
    per_channel = (1, -1, 1, 1)
    if any(imported.mean):
        steps.then("Sub", np.array(imported.mean, np.float32).reshape(per_channel))
    if set(imported.std) != {1.0}:
        steps.then("Div", np.array(imported.std, np.float32).reshape(per_channel))
    if imported.layout == "nhwc":
        steps.then("Transpose", perm=[0, 2, 3, 1])
    return steps
