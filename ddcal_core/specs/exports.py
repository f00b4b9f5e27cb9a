"""The formats that results are downloaded in: one registry, which all others follow.

Each has a writer in `worker.trainer.kinds.export`, unless the result holds the file already.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

from ddcal_core.specs.results import Resource

SetFormat = Literal["safetensors", "npz", "imagefolder"]
ExportFormat = SetFormat
"""Every format's word, whatever it is of."""
ExportedResource = Literal["distilled_set"]
"""What has formats."""

ZIP, TORCH, TAR = "application/zip", "application/octet-stream", "application/x-tar"


@dataclass(frozen=True, kw_only=True)
class FormatFacts:
    """What is known of a format.

    Attributes:
        description: what is in the file, and what is lost.
        media_type: of the file.
        file_name: of the file, which no other file of the result has.
        is_stored: whether the result's own job writes the file; else an export does.
        has_card: whether it says what reports have found, and so changes with the next one.
        use: Python that reads the file, which lies in the working directory under its name.
        needs: the packages that this imports, by the names that pip has for them.
    """

    description: str
    media_type: str
    file_name: str
    is_stored: bool = False
    has_card: bool = False
    use: str
    needs: tuple[str, ...]


_SET_FORMATS: Mapping[SetFormat, FormatFacts] = {
    "safetensors": FormatFacts(
        description="Images float32 in network-input space, labels, and what a whitened space is "
        "made of. Nothing is lost.",
        media_type="application/x-safetensors",
        file_name="distilled_set.safetensors",
        is_stored=True,
        use="""\
from safetensors.torch import load_file

tensors = load_file("distilled_set.safetensors")
images, labels = tensors["images"], tensors["labels"]
print(images.shape, labels.shape)
""",
        needs=("safetensors", "torch"),
    ),
    "npz": FormatFacts(
        description="The same arrays for NumPy, with mean, std and class names. Nothing is lost.",
        media_type="application/x-npz",
        file_name="distilled_set.npz",
        is_stored=True,
        use="""\
import numpy as np

with np.load("distilled_set.npz", allow_pickle=False) as arrays:
    images, labels = arrays["images"], arrays["labels"]
print(images.shape, labels.shape)
""",
        needs=("numpy",),
    ),
    "imagefolder": FormatFacts(
        description="A zip of PNGs, one folder a class, as torchvision's ImageFolder reads them. "
        "Pixels are rounded to 256 levels, and those outside [0, 1] clipped. Hard labels only.",
        media_type=ZIP,
        file_name="distilled_set.imagefolder.zip",
        use="""\
import zipfile

from torchvision.datasets import ImageFolder

zipfile.ZipFile("distilled_set.imagefolder.zip").extractall("distilled_set")
images = ImageFolder("distilled_set/train")
print(len(images), images.classes)
""",
        needs=("torchvision",),
    ),
}
FORMATS: Mapping[ExportedResource, Mapping[ExportFormat, FormatFacts]] = {
    "distilled_set": dict(_SET_FORMATS),
}


def formats_of(resource: Resource) -> Mapping[ExportFormat, FormatFacts]:
    """The formats of a kind of result; none of one that has no formats."""
    return next((FORMATS[one] for one in get_args(ExportedResource) if one == resource), {})
