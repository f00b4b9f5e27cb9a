"""The formats of distilled sets."""

from collections.abc import Mapping
from typing import Literal

from ddcal_core.specs.formats.format_facts import BYTES, MARKDOWN, ZIP, FormatFacts

SetFormat = Literal[
    "safetensors", "npz", "imagefolder", "huggingface", "webdataset", "dc", "mtt", "card"
]

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
        description="A zip of PNGs, one folder per class, as torchvision's ImageFolder reads them. "
        "Folders begin with the label where names alone would be in another order. Pixels are "
        "rounded to 256 levels, and those outside [0, 1] clipped. Hard labels only.",
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
    "huggingface": FormatFacts(
        description="A zip that `datasets.load_dataset` loads: a card (README.md) and parquet with "
        "`image` (PNG, rounded and clipped), `label`, `pixel_values` (exactly, float32 in "
        "network-input space) and, of soft labels, `soft_label`.",
        media_type=ZIP,
        file_name="distilled_set.huggingface.zip",
        has_card=True,
        use="""\
import zipfile

from datasets import load_dataset

with zipfile.ZipFile("distilled_set.huggingface.zip") as archive:
    archive.extractall("distilled_set")
rows = load_dataset("distilled_set", split="train").with_format("torch")
print(rows.num_rows, rows[0]["pixel_values"].shape, rows[0]["label"])
""",
        needs=("datasets", "torch", "pillow"),
    ),
    "webdataset": FormatFacts(
        description="One shard, a tar: of each image .png (rounded and clipped), .npy (exactly, "
        "float32 in network-input space), .cls (the label) and .json (class name, soft label).",
        media_type="application/x-tar",
        file_name="distilled_set.webdataset.tar",
        use="""\
import webdataset

shard = webdataset.WebDataset("distilled_set.webdataset.tar", shardshuffle=False)
for picture, image, label in shard.decode("pil").to_tuple("png", "npy", "cls"):
    print(picture.size, image.shape, label)
""",
        needs=("webdataset", "pillow"),
    ),
    "dc": FormatFacts(
        description="A .pt as the code of DC, DSA and DM saves it: {'data': [[images, labels]], "
        "'accs_all_exps': {}}, images in network-input space. Hard labels only; the learned "
        "learning rate and the matrix of a whitened space have no place in it.",
        media_type=BYTES,
        file_name="distilled_set.dc.pt",
        use="""\
import torch

saved = torch.load("distilled_set.dc.pt", weights_only=True)
((images, labels),) = saved["data"]
print(images.shape, labels.shape)
""",
        needs=("torch",),
    ),
    "mtt": FormatFacts(
        description="A zip of images_best.pt and labels_best.pt as the code of MTT and TESLA saves "
        "them, images in network-input space; whitened ones as pixels besides "
        "(images_zca_best.pt). The learned learning rate has no place in it.",
        media_type=ZIP,
        file_name="distilled_set.mtt.zip",
        use="""\
import zipfile

import torch

with zipfile.ZipFile("distilled_set.mtt.zip") as archive:
    archive.extractall("distilled_set")
images = torch.load("distilled_set/images_best.pt", weights_only=True)
labels = torch.load("distilled_set/labels_best.pt", weights_only=True)
print(images.shape, labels.shape)
""",
        needs=("torch",),
    ),
    "card": FormatFacts(
        description="README.md as Hugging Face has it: how the set was made, what it is good for "
        "and what not, the licence of its source as declared, and what reports have found.",
        media_type=MARKDOWN,
        file_name="README.md",
        has_card=True,
        use="""\
from pathlib import Path

print(Path("README.md").read_text(encoding="utf-8"))
""",
        needs=(),
    ),
}
