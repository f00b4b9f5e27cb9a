"""Which network: in a label where networks have to be told apart, and in sentences."""

from collections.abc import Mapping, Sequence
from typing import Any

from ddcal_core.specs.networks import NETWORK_OPTIONS, network_spec

NAMES = {
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


def whole_network(described: Mapping[str, Any]) -> dict[str, Any]:
    """Give a network of a model's config with all of its options.

    Args:
        described: name and options; one stored before it had an option lacks that option.
    """
    return network_spec(described).described()


def network_words(described: Mapping[str, Any]) -> str:
    """Name a network with all of its options: "ConvNet (width 32, depth 3, ...)"."""
    return _named(whole_network(described), set(NETWORK_OPTIONS[described["name"]]))


def network_suffixes(configs: Sequence[Mapping[str, Any]]) -> list[str]:
    """Give what the label of each training set has to add so that its networks are told apart.

    Args:
        configs: of models, one a training set.

    Returns:
        Of each "" where all are ConvNets of one kind, else the network's name and the options in
        which those of that name differ; and "augmented" where only some were trained so.
    """
    networks = [whole_network(config["network"]) for config in configs]
    augmented = [bool(config["train"].get("augmentation")) for config in configs]
    are_told = any(network != networks[0] or network["name"] != "convnet" for network in networks)
    suffixes = []
    for network, is_augmented in zip(networks, augmented, strict=True):
        namesakes = [other for other in networks if other["name"] == network["name"]]
        differing = {
            option for other in namesakes for option in other if other[option] != network[option]
        }
        words = [_named(network, differing)] if are_told else []
        if is_augmented and not all(augmented):
            words.append("augmented")
        suffixes.append(", ".join(words))
    return suffixes


def augmentation_words(train: Mapping[str, Any]) -> str:
    """Say how images were changed in training: "no augmentation", "augmentation by flip, crop"."""
    names = train.get("augmentation") or ()
    return f"augmentation by one of {', '.join(names)}" if names else "no augmentation"


def _named(network: Mapping[str, Any], options: set[str]) -> str:
    words = [
        template.format("default size" if network[option] is None else network[option])
        for option, template in _OPTION_WORDS.items()
        if option in options
    ]
    words = [word.replace("none ", "no ").replace("_", " ") for word in words]
    name = NAMES[network["name"]]
    return f"{name} ({', '.join(words)})" if words else name
