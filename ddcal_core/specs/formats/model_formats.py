"""The formats of networks, as they are or calibrated."""

from collections.abc import Mapping
from typing import Literal

from ddcal_core.specs.formats.format_facts import BYTES, MARKDOWN, ZIP, FormatFacts

ModelFormat = Literal["safetensors", "onnx", "pt2", "card"]

_WEIGHTS_USE = """\
import json
import zipfile

from safetensors.torch import load_file

with zipfile.ZipFile("{file}") as archive:
    archive.extractall("model")
weights = load_file("model/model.safetensors")
with open("model/config.json", encoding="utf-8") as file:
    config = json.load(file)
print(config["network"], len(config["class_names"]), len(weights))
"""
_ONNX_USE = """\
import numpy as np
import onnxruntime

session = onnxruntime.InferenceSession("{file}")
n, *shape = session.get_inputs()[0].shape  # n: any number of images, unless it is one
pixels = np.zeros((n if isinstance(n, int) else 2, *shape), np.float32)  # in [0, 1], never uint8
probabilities, logits = session.run(["probabilities", "logits"], {{"pixels": pixels}})
print(probabilities.shape)
"""
_PROGRAM_USE = """\
import torch

program = torch.export.load("{file}")
(pixels,), _ = program.example_inputs  # float32 in [0, 1], never uint8
print(program.module()(pixels).shape)
"""
_CARD_USE = """\
from pathlib import Path

print(Path("README.md").read_text(encoding="utf-8"))
"""


def _formats(stem: str, out: str, *, has_program: bool) -> Mapping[ModelFormat, FormatFacts]:
    """The formats of a network.

    Args:
        stem: of the files' names.
        out: what comes out of it.
        has_program: whether the result's own job writes a program of torch.export.
    """
    names = {"safetensors": f"{stem}.zip", "onnx": f"{stem}.onnx", "pt2": f"{stem}.pt2"}
    return {
        "safetensors": FormatFacts(
            description="A zip of model.safetensors (the weights), config.json, what a whitened "
            "input space is made of, scaling.json of a calibration of several numbers, and a card.",
            media_type=ZIP,
            file_name=names["safetensors"],
            has_card=True,
            use=_WEIGHTS_USE.format(file=names["safetensors"]),
            needs=("safetensors", "torch"),
        ),
        "onnx": FormatFacts(
            description="For every runtime: pixels float32 (N, C, H, W) in [0, 1] in, "
            f"{out} and the logits out. Normalisation or whitening is inside.",
            media_type=BYTES,
            file_name=names["onnx"],
            use=_ONNX_USE.format(file=names["onnx"]),
            needs=("onnxruntime",),
        ),
        "pt2": FormatFacts(
            description="A program of torch.export: pixels float32 (N, C, H, W) in [0, 1] in, "
            f"{out} out. Other dtypes, such as uint8, are refused.",
            media_type="application/x-torch-export",
            file_name=names["pt2"],
            is_stored=has_program,
            use=_PROGRAM_USE.format(file=names["pt2"]),
            needs=("torch",),
        ),
        "card": FormatFacts(
            description="README.md as Hugging Face has it: how the network was made, what it is "
            "good for and what not, the licence of its source as declared, and what reports have "
            "found.",
            media_type=MARKDOWN,
            file_name="README.md",
            has_card=True,
            use=_CARD_USE,
            needs=(),
        ),
    }


# Names that no file of a model itself has, as model.onnx of an imported graph.
MODEL_FORMATS = _formats("network", "probabilities before any calibration", has_program=False)
CALIBRATION_FORMATS = _formats("calibrated_model", "calibrated probabilities", has_program=True)
