"""What a config and a report say of a network that was made elsewhere."""

from pydantic import Field

from ddcal_core.formats.records import Record
from ddcal_core.specs.fields import is_none
from ddcal_core.specs.foreign_networks import Layout, NetworkFileFormat, NetworkSpace, Outputs


class NetworkReading(Record):
    """How a network that was made elsewhere is read and asked.

    Attributes:
        declared_space: what the sender said that it reads.
        mean: of each channel of its input; images are taken as (pixel - mean) / std.
        std: likewise.
        input_shape: (C, H, W) that it reads: grey images are given to three channels alike, images
            of another size are resampled (bilinear, antialiased where they shrink).
        layout: the order of its input's dimensions.
        outputs: what comes out; probabilities are taken as their logarithms.
        columns: label k is its output columns[k]; None: output k.
        batch: the number of images that it is fixed to; None: any.
    """

    declared_space: NetworkSpace
    mean: tuple[float, ...]
    std: tuple[float, ...]
    input_shape: tuple[int, int, int]
    layout: Layout
    outputs: Outputs
    columns: tuple[int, ...] | None = Field(None, exclude_if=is_none)
    batch: int | None = Field(None, exclude_if=is_none)


class ImportedNetwork(NetworkReading):
    """Where a network that was made elsewhere came from, and how it is read and asked.

    Attributes:
        file_format: of the file: "onnx" or "safetensors".
        sha256: of the file.
        opset: of an ONNX file, the version of its operators.
        n_tried: validation images that it was tried on.
        tried_accuracy: on these, in [0, 1].
        notes: what is odd about it, or not known of it, a sentence or two each.
    """

    file_format: NetworkFileFormat
    sha256: str
    opset: int | None = Field(None, exclude_if=is_none)
    n_tried: int
    tried_accuracy: float
    notes: tuple[str, ...]
