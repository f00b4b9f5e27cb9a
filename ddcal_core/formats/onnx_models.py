"""Calibrated networks as ONNX, for every runtime that reads it; programs for PyTorch: `models`."""

import warnings
from collections.abc import Collection, Sequence
from pathlib import Path

import numpy as np
import onnx
import torch
from torch import Tensor, nn
from torch.export import Dim

from ddcal_core.data.input_space import InputSpace
from ddcal_core.errors import FoldingError
from ddcal_core.formats.models import CalibratedNetwork
from ddcal_core.formats.onnx_sessions import open_session

PIXELS, PROBABILITIES, LOGITS = "pixels", "probabilities", "logits"
"""Names of the input and the outputs of every ONNX file that is written here."""
OPSET = 18
_TOLERANCE = 1e-4
_N_TRIED = 3


class WithLogits(nn.Module):
    """A calibrated network that gives the logits, too, as they were before the calibration."""

    def __init__(self, calibrated: CalibratedNetwork) -> None:
        super().__init__()
        self.calibrated = calibrated

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Give probabilities and logits (N, K) of pixels float32 (N, C, H, W) in [0, 1]."""
        logits: Tensor = self.calibrated.network(self.calibrated.input_space(pixels))
        return self.calibrated.scaled(logits), logits


def write_onnx(
    network: nn.Module,
    space: InputSpace,
    path: Path,
    *,
    temperature: float = 1.0,
    weights: Sequence[float] | None = None,
    biases: Sequence[float] | None = None,
) -> None:
    """Write a network as ONNX, its input space and what was found of it folded in.

    The file has one input, `pixels`: float32 (N, C, H, W) in [0, 1], any N >= 1; and two outputs,
    float32 (N, K) each: `probabilities`, calibrated, and `logits`, as they were before. What ONNX
    Runtime makes of it is compared with the network before it is written. It holds no image and
    nothing of this machine.

    Args:
        network: network-input space (N, C, H, W) -> logits (N, K); on the CPU, in evaluation mode.
        space: what it reads of pixels; on the CPU.
        path: of the .onnx file.
        temperature: T > 0, finite; 1 for vector scaling, whose weights hold the scale.
        weights: K of them, for logits less their row's mean; None for ones.
        biases: K of them; None for zeros.

    Raises:
        FoldingError: ONNX Runtime computes other numbers than the network.
    """
    example = torch.zeros(2, *space.facts.image_shape)
    with torch.no_grad():
        n_classes = network(space(example)).shape[1]
    calibrated = CalibratedNetwork(network, space, n_classes)
    calibrated.set_scaling(temperature, weights, biases)
    whole = WithLogits(calibrated).eval().requires_grad_(False)
    with warnings.catch_warnings():
        # torch warns of its own code.
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            whole,
            (example,),
            input_names=[PIXELS],
            output_names=[PROBABILITIES, LOGITS],
            dynamic_shapes=({0: Dim("N", min=1)},),
            opset_version=OPSET,
            dynamo=True,
            verbose=False,
        )
    assert program is not None
    held = without_origins(program.model_proto).SerializeToString()
    compare_with_onnx(held, whole, space.facts.image_shape, {1, _N_TRIED})
    path.write_bytes(held)


def without_origins(model: onnx.ModelProto) -> onnx.ModelProto:
    """Take out what says where a graph's parts stood in code, in place."""
    graph = model.graph
    parts = (*graph.node, *graph.input, *graph.output, *graph.value_info, *graph.initializer)
    for one in (model, graph, *parts):
        del one.metadata_props[:]
        one.ClearField("doc_string")
    return model


def compare_with_onnx(
    held: bytes, whole: WithLogits, image_shape: tuple[int, int, int], n_images: Collection[int]
) -> None:
    """Ask ONNX Runtime and a network of the same images, noise.

    Args:
        held: the ONNX file.
        whole: what it was written of.
        image_shape: (C, H, W).
        n_images: how many to ask of at once.

    Raises:
        FoldingError: their answers differ.
    """
    generator = torch.Generator().manual_seed(0)
    pixels = torch.rand(max(n_images), *image_shape, generator=generator)
    session = open_session(held, n_threads=torch.get_num_threads())
    with torch.no_grad():
        wanted = [one.numpy() for one in whole(pixels)]
    for n in n_images:
        got = session.run([PROBABILITIES, LOGITS], {PIXELS: pixels[:n].numpy()})
        for name, own, other in zip((PROBABILITIES, LOGITS), wanted, got, strict=True):
            far = float(np.abs(own[:n] - other).max())
            if not far <= _TOLERANCE * max(1.0, float(np.abs(own).max())):
                raise FoldingError(
                    f"wanted of ONNX Runtime the {name} of the network; got others, by {far:.2g}"
                )
