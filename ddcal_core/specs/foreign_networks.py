"""What can be said of a network made elsewhere."""

from collections.abc import Mapping
from typing import Any, Literal, get_args

from pydantic import Field

from ddcal_core.specs.fields import DatasetName, Spec
from ddcal_core.specs.networks import NetworkName, NetworkSpec
from ddcal_core.specs.uploads import Numbers

TorchvisionName = Literal["torchvision.resnet18", "torchvision.resnet50", "torchvision.vit_b_16"]
ForeignName = Literal["onnx", TorchvisionName]
FOREIGN_NAMES: tuple[ForeignName, ...] = ("onnx", *get_args(TorchvisionName))
TORCHVISION_SIDES: Mapping[TorchvisionName, int | None] = {
    "torchvision.resnet18": None,
    "torchvision.resnet50": None,
    "torchvision.vit_b_16": 224,
}
"""The one side in pixels that each can read; None: any."""
NetworkFileFormat = Literal["onnx", "safetensors"]
NetworkSpace = Literal["pixels", "standardised"]
"""What a network made elsewhere may read."""
Layout = Literal["nchw", "nhwc"]
Outputs = Literal["logits", "probabilities"]

MIN_SIDE, MAX_SIDE = 4, 512


class ForeignNetwork(Spec):
    """A network that is none of ours: a graph of ONNX, or one of torchvision's by name."""

    network: ForeignName = Field(
        description="`onnx`: what its file holds; else the constructor in torchvision.models."
    )

    def described(self) -> dict[str, Any]:
        """Give the network's name, as `NetworkSpec.described` does."""
        return {"name": self.network}


AnyNetwork = NetworkSpec | ForeignNetwork


def is_onnx(network: AnyNetwork) -> bool:
    """Whether a network is a graph of ONNX, and its file all that there is to know of it."""
    return isinstance(network, ForeignNetwork) and network.network == "onnx"


class NetworkOptions(Spec):
    """What the sender of a network says of it."""

    dataset: DatasetName
    architecture: ForeignName | NetworkName = Field(
        "onnx",
        description=(
            "What the file holds: `onnx`, a graph; else it is safetensors with the parameters of "
            "this network, under the names that its state_dict has."
        ),
    )
    space: NetworkSpace = Field(
        description=(
            "What the network reads: pixels in [0, 1], or `standardised`, (pixel - mean) / std by "
            "channel. Masked pixels are 0 in this space, or, with a distilled_set, in that of the "
            "set."
        )
    )
    mean: Numbers | None = Field(
        None,
        description=(
            "Of a standardised input: the mean of each channel of the network's input, of pixels "
            "in [0, 1]; once for each, or one for all. Default: the distilled set's, else the data "
            "set's."
        ),
    )
    std: Numbers | None = Field(None, description="Likewise the standard deviation.")
    side: int | None = Field(
        None,
        ge=MIN_SIDE,
        le=MAX_SIDE,
        description=(
            "Side in pixels of the square that the network reads. Images of another size are "
            "resampled to it, bilinear, with antialiasing where they shrink (as Pillow and "
            "torchvision do). Default: the one that the file is fixed to, else the images' own."
        ),
    )
    layout: Layout = Field(
        "nchw", description="Of an ONNX file: the order of its input's dimensions."
    )
    outputs: Outputs = Field(
        "logits",
        description=(
            "What comes out, one number per class. Probabilities are taken as their logarithms, "
            "those below 1.2e-38 as if they were that."
        ),
    )
    class_order: list[str] | None = Field(
        None,
        max_length=1_000,
        description=(
            "Names of the data set's classes in the order of the network's outputs, all of them; "
            "once for each. Default: the data set's own order."
        ),
    )
    distilled_set: str | None = Field(
        None,
        pattern=r"^set_[0-9a-z]{26}$",
        description=(
            "The distilled set that the network was trained on, where it was one of this service's "
            "(one made elsewhere can be uploaded first): temperatures can be fitted on it then."
        ),
    )
    width: int | None = Field(None, ge=1, le=512, description="As the params of a training.")
    depth: int | None = Field(None, ge=1, le=12, description="Likewise.")
    norm: str | None = Field(None, description="Likewise.")
    pooling: str | None = Field(None, description="Likewise.")
    activation: str | None = Field(None, description="Likewise.")
    heads: int | None = Field(None, ge=1, le=16, description="Likewise.")
    patch_size: int | None = Field(None, ge=1, le=64, description="Likewise.")

    @property
    def own_options(self) -> dict[str, Any]:
        """What is said of a network of our own kind, beside its name."""
        fields = set(NetworkSpec.model_fields) - {"network"}
        return {name: value for name in fields if (value := getattr(self, name)) is not None}

    def network(self) -> AnyNetwork:
        """Give the network that the file is to hold.

        Raises:
            ValueError: an option that it does not have, or has no such value of.
        """
        name = self.architecture
        if name in FOREIGN_NAMES:
            if self.own_options:
                given = ", ".join(sorted(self.own_options))
                raise ValueError(f"wanted no {given} of {name}")
            return ForeignNetwork.model_validate({"network": name})
        return NetworkSpec.model_validate({"network": name, **self.own_options})
