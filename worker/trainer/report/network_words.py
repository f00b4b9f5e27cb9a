"""Which network, trained how: in a label where they have to be told apart, and in sentences."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, assert_never

from ddcal_core.specs.foreign_networks import AnyNetwork, ForeignName
from ddcal_core.specs.information_drop import drop_words
from ddcal_core.specs.networks import NetworkName
from ddcal_core.specs.regularisers import Mixup, regulariser_words
from ddcal_core.specs.training import (
    AdamW,
    CrossEntropy,
    Focal,
    FocalSchedule,
    LabelSmoothing,
    Sgd,
    TrainLoss,
    TrainSpec,
)

NETWORK_LABELS: Mapping[NetworkName | ForeignName, str] = {
    "convnet": "ConvNet",
    "alexnet": "AlexNet",
    "vgg11": "VGG-11",
    "resnet18": "ResNet-18",
    "resnet50": "ResNet-50",
    "vit": "ViT",
    "onnx": "ONNX network",
    "torchvision.resnet18": "torchvision's ResNet-18",
    "torchvision.resnet50": "torchvision's ResNet-50",
    "torchvision.vit_b_16": "torchvision's ViT-B/16",
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


class Told(NamedTuple):
    """What a label tells networks apart by.

    Attributes:
        network: which one.
        train: how it was trained; None where that is not known.
        is_imported: whether it was made elsewhere.
    """

    network: AnyNetwork
    train: TrainSpec | None
    is_imported: bool = False


def network_words(network: AnyNetwork) -> str:
    """Name a network with all of its options: "ConvNet (width 32, depth 3, ...)"."""
    own = set(network.described()) - {"name"}
    return _named(network.described(), own)


def network_suffixes(trained: Sequence[Told]) -> list[str]:
    """Give what the label of each training set has to add so that its networks are told apart.

    Args:
        trained: of each training set the network, and how it was trained.

    Returns:
        Of each "" where all are ConvNets of one kind, else the network's name and the options in
        which those of that name differ; "imported" where it was made elsewhere, and "augmented"
        where only some were trained so.
    """
    networks = [one.network.described() for one in trained]
    augmented = [bool(one.train and one.train.augmentation) for one in trained]
    are_told = any(network != networks[0] for network in networks)
    are_told |= any(network["name"] != "convnet" for network in networks)
    suffixes = []
    for told, network, is_augmented in zip(trained, networks, augmented, strict=True):
        namesakes = [other for other in networks if other["name"] == network["name"]]
        differing = {
            option for other in namesakes for option in other if other[option] != network[option]
        }
        words = [_named(network, differing)] if are_told or told.is_imported else []
        if told.is_imported:
            words.append("imported")
        if is_augmented and not all(augmented):
            words.append("augmented")
        suffixes.append(", ".join(words))
    return suffixes


NOT_KNOWN = "not known"


def loss_words(loss: TrainLoss | None) -> str:
    """Name what a network was trained to minimise, with its parameter."""
    match loss:
        case None:
            return NOT_KNOWN
        case CrossEntropy():
            return "cross-entropy"
        case LabelSmoothing(smoothing=smoothing):
            return f"label smoothing {smoothing:g}"
        case Focal(gamma=gamma):
            return f"focal loss, γ = {gamma:g}"
        case FocalSchedule():
            return "focal loss FLSD-53"
        case Mixup():
            return regulariser_words(loss)
        case _:
            assert_never(loss)


def optimiser_words(train: TrainSpec) -> str:
    """Name what took the steps of a training: "SGD", "AdamW, warm-up over 10 % of the steps"."""
    match train.optimiser:
        case None | Sgd():
            return "SGD"
        case AdamW(warm_up=share):
            return f"AdamW, warm-up over {100 * share:g}\u202f% of the steps" if share else "AdamW"
        case _:
            assert_never(train.optimiser)


def step_words(train: TrainSpec) -> str:
    """Name the optimiser with its numbers, momentum and decay among them."""
    decay = f"weight decay {train.weight_decay:g}"
    numbers = f"momentum {train.momentum:g}, {decay}"
    if isinstance(train.optimiser, AdamW):
        numbers = f"decoupled weight decay {train.optimiser.weight_decay:g}"
    return f"{optimiser_words(train)}, learning rate {train.lr:g}, {numbers}"


def augmentation_words(train: TrainSpec) -> str:
    """Say how images were changed in training: "no augmentation, cutmix, α = 1"."""
    names = train.augmentation
    words = f"augmentation by one of {', '.join(names)}" if names else "no augmentation"
    further = [regulariser_words(train.regulariser), drop_words(train.drop)]
    return ", ".join(filter(None, [words, *further]))


def _named(network: Mapping[str, Any], options: set[str]) -> str:
    words = [
        template.format("default size" if network[option] is None else network[option])
        for option, template in _OPTION_WORDS.items()
        if option in options
    ]
    words = [word.replace("none ", "no ").replace("_", " ") for word in words]
    name = NETWORK_LABELS[network["name"]]
    return f"{name} ({', '.join(words)})" if words else name
