"""The formats of distilled sets."""

from collections.abc import Mapping
from typing import Literal

from ddcal_core.specs.formats.format_facts import ZIP, FormatFacts

SetFormat = Literal["safetensors", "npz", "imagefolder"]

SET_FORMATS: Mapping[SetFormat, FormatFacts] = {
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

with zipfile.ZipFile("distilled_set.imagefolder.zip") as archive:
    archive.extractall("distilled_set")
images = ImageFolder("distilled_set/train")
print(len(images), images.classes)
""",
        needs=("torchvision",),
    ),
}
