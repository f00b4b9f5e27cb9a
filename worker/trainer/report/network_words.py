"""Which network, trained how: in a label where they have to be told apart, and in sentences."""

from collections.abc import Mapping, Sequence
from typing import Any, assert_never

from ddcal_core.specs.networks import NETWORK_OPTIONS, NetworkName, NetworkSpec
from ddcal_core.specs.training import (
    CrossEntropy,
    Focal,
    FocalSchedule,
    LabelSmoothing,
    Mixup,
    TrainLoss,
    TrainSpec,
)

NETWORK_LABELS: Mapping[NetworkName, str] = {
    "convnet": "ConvNet",
    "alexnet": "AlexNet",
    "vgg11": "VGG-11",
    "resnet18": "ResNet-18",
    "vit": "ViT",
}
_OPTION_WORDS = {
    "width": "width {}",
    "depth": "depth {}",
    "norm": "{} norm",
    "pooling": "{} pooling",
    "activation": "{}",
    "heads": "{} heads",
    "patch_size": "patches of {}",
}


def network_words(network: NetworkSpec) -> str:
    """Name a network with all of its options: "ConvNet (width 32, depth 3, ...)"."""
    return _named(network.described(), set(NETWORK_OPTIONS[network.network]))


def network_suffixes(trained: Sequence[tuple[NetworkSpec, TrainSpec]]) -> list[str]:
    """Give what the label of each training set has to add so that its networks are told apart.

    Args:
        trained: of each training set the network, and how it was trained.

    Returns:
        Of each "" where all are ConvNets of one kind, else the network's name and the options in
        which those of that name differ; and "augmented" where only some were trained so.
    """
    networks = [network.described() for network, _ in trained]
    augmented = [bool(train.augmentation) for _, train in trained]
    are_told = any(network != networks[0] for network in networks)
    are_told |= any(network.network != "convnet" for network, _ in trained)
    suffixes = []
    for (spec, _), network, is_augmented in zip(trained, networks, augmented, strict=True):
        namesakes = [other.described() for other, _ in trained if other.network == spec.network]
        differing = {
            option for other in namesakes for option in other if other[option] != network[option]
        }
        words = [_named(network, differing)] if are_told else []
        if is_augmented and not all(augmented):
            words.append("augmented")
        suffixes.append(", ".join(words))
    return suffixes


def loss_words(loss: TrainLoss) -> str:
    """Name what a network was trained to minimise, with its parameter."""
    match loss:
        case CrossEntropy():
            return "cross-entropy"
        case LabelSmoothing(smoothing=smoothing):
            return f"label smoothing {smoothing:g}"
        case Focal(gamma=gamma):
            return f"focal loss, γ = {gamma:g}"
        case FocalSchedule():
            return "focal loss FLSD-53"
        case Mixup(alpha=alpha):
            return f"mixup, α = {alpha:g}"
        case _:
            assert_never(loss)


def augmentation_words(train: TrainSpec) -> str:
    """Say how images were changed in training: "no augmentation", "augmentation by flip, crop"."""
    names = train.augmentation
    return f"augmentation by one of {', '.join(names)}" if names else "no augmentation"


def _named(network: Mapping[str, Any], options: set[str]) -> str:
    words = [
        template.format("default size" if network[option] is None else network[option])
        for option, template in _OPTION_WORDS.items()
        if option in options
    ]
    words = [word.replace("none ", "no ").replace("_", " ") for word in words]
    name = NETWORK_LABELS[network["name"]]
    return f"{name} ({', '.join(words)})" if words else name
