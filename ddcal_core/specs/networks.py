"""Which network is trained, with the options that belong to it."""

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field, ValidationInfo, field_validator

from ddcal_core.specs.fields import Spec

NetworkName = Literal["convnet", "alexnet", "vgg11", "resnet18", "resnet50", "vit"]
Norm = Literal["instance", "batch", "group", "layer", "none"]
Pooling = Literal["avg", "max", "none"]
Activation = Literal["relu", "leaky_relu", "sigmoid", "swish"]

NORM_GROUPS = 4
NETWORK_OPTIONS: Mapping[NetworkName, Mapping[str, Any]] = {
    "convnet": {
        "width": 32,
        "depth": 3,
        "norm": "instance",
        "pooling": "avg",
        "activation": "relu",
    },
    "alexnet": {},
    "vgg11": {"norm": "instance"},
    "resnet18": {"norm": "instance"},
    # Fifty layers of instance norm on few pixels amplify rounding beyond all bounds.
    "resnet50": {"norm": "batch"},
    # No patch size means one that follows the image.
    "vit": {"width": 128, "depth": 4, "heads": 4, "patch_size": None},
}
"""The options of each network with their defaults."""


class NetworkSpec(Spec):
    """A network by name. Options that it does not have are refused; null is as if left out."""

    network: NetworkName = Field(
        "convnet",
        description=(
            "The architecture, in its form for small images (4 to 256 pixels a side, 1 or "
            "3 channels). alexnet, vgg11, resnet18 and resnet50 leave out downsampling that "
            "would leave too little of an image."
        ),
    )
    width: int | None = Field(
        None,
        ge=1,
        le=512,
        validate_default=True,
        description=(
            "convnet: channels of each block, default 32; vit: numbers per token, default 128."
        ),
    )
    depth: int | None = Field(
        None,
        ge=1,
        le=12,
        validate_default=True,
        description="Number of blocks. convnet: each with its pooling, default 3; vit: default 4.",
    )
    norm: Norm | None = Field(
        None,
        validate_default=True,
        description=(
            "convnet, vgg11, resnet18, resnet50; default `instance`, of resnet50 `batch`. `group` "
            "has 4 groups; `layer` normalises over all channels and pixels of an image."
        ),
    )
    pooling: Pooling | None = Field(
        None, validate_default=True, description="convnet: 2 x 2, `avg` by default."
    )
    activation: Activation | None = Field(
        None, validate_default=True, description="convnet; `relu` by default."
    )
    heads: int | None = Field(
        None,
        ge=1,
        le=16,
        validate_default=True,
        description="vit: heads of each attention, a divisor of width; default 4.",
    )
    patch_size: int | None = Field(
        None,
        ge=1,
        le=64,
        validate_default=True,
        description=(
            "vit: side of a patch in pixels. Default: an eighth of the shorter side of the "
            "image, rounded up, at least 2."
        ),
    )

    @field_validator("width", "depth", "norm", "pooling", "activation", "heads", "patch_size")
    @classmethod
    def _belongs_to_the_network(cls, value: object, info: ValidationInfo) -> object:
        name = info.data.get("network")
        if name is None or info.field_name is None:
            return value  # the network is refused itself
        options = NETWORK_OPTIONS[name]
        if value is None:
            return options.get(info.field_name)
        if info.field_name not in options:
            wanted = ", ".join(options) or "none"
            raise ValueError(f"wanted an option of {name} ({wanted}), got {value!r}")
        return value

    @field_validator("norm")
    @classmethod
    def _groups_divide_the_width(cls, norm: Norm | None, info: ValidationInfo) -> Norm | None:
        width = info.data.get("width")
        if norm == "group" and width is not None and width % NORM_GROUPS:
            raise ValueError(
                f"wanted a width that {NORM_GROUPS} groups divide for norm group, got {width}"
            )
        return norm

    @field_validator("heads")
    @classmethod
    def _heads_divide_the_width(cls, heads: int | None, info: ValidationInfo) -> int | None:
        width = info.data.get("width")
        if heads is not None and width is not None and width % heads:
            raise ValueError(f"wanted a divisor of the width {width}, got {heads}")
        return heads

    def described(self) -> dict[str, Any]:
        """Give the network's name and its options, and no other network's."""
        options = NETWORK_OPTIONS[self.network]
        return {"name": self.network, **{option: getattr(self, option) for option in options}}


def network_spec(described: Mapping[str, Any]) -> NetworkSpec:
    """Read back what `NetworkSpec.described` has given; options it does not name are defaults.

    Raises:
        ValueError: it describes no network.
    """
    options = {name: value for name, value in described.items() if name != "name"}
    return NetworkSpec.model_validate({"network": described.get("name"), **options})


def default_patch_size(image_shape: tuple[int, int, int]) -> int:
    """Give the side of a token, in pixels, where none is asked for.

    Args:
        image_shape: (C, H, W).
    """
    return max(2, -(-min(image_shape[1:]) // 8))
