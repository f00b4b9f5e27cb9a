"""Networks that differ by seed alone, put together and named for people."""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from ddcal_core.formats.calibrations import (
    TrainingSource,
)
from ddcal_core.formats.manifests import ModelConfig
from ddcal_core.specs.information_drop import drop_words
from ddcal_core.specs.regularisers import regulariser_words
from ddcal_core.specs.training import CrossEntropy, Sgd, TrainLoss
from worker.trainer.inputs import ModelInput, SetInput
from worker.trainer.report.data_words import data_suffix
from worker.trainer.report.mask_words import mask_words
from worker.trainer.report.network_words import (
    Told,
    loss_words,
    network_suffixes,
    optimiser_words,
)


@dataclass(frozen=True)
class Network:
    """A network that is measured.

    Attributes:
        id: of the model, or the name of uploaded logits.
        seed: of the job that trained it; None where that is not known.
        seed_index: its place among the networks of its job; likewise.
    """

    id: str
    seed: int | None = None
    seed_index: int | None = None


@dataclass(frozen=True)
class TrainingSet:
    """Networks that differ by seed alone.

    Attributes:
        label: for people ("distilled (DM, 10 per class)"), unlike any other's.
        images: what was trained on, in a sentence ("10 distilled images per class").
        models: the networks, by seed.
        configs: theirs, in that order; none of uploaded logits, of whose network nothing is known.
        distilled: the set they were trained on, if it was a distilled one.
    """

    label: str
    images: str
    models: tuple[Network, ...]
    configs: tuple[ModelConfig, ...] = ()
    distilled: SetInput | None = None

    @property
    def source(self) -> TrainingSource | Literal["elsewhere"]:
        """What was trained on, in a word."""
        return self.configs[0].training_set if self.configs else "elsewhere"

    @property
    def loss(self) -> TrainLoss | None:
        """What the networks were trained to minimise; None where they were made elsewhere."""
        train = self.configs[0].train if self.configs else None
        return None if train is None else train.loss


_ORDER: Mapping[TrainingSource, int] = {
    "distilled": 0,
    "random": 1,
    "taught": 2,
    "herding": 3,
    "full": 4,
    "unknown": 5,
}


def group_models(
    models: Sequence[ModelInput], distilled_sets: Mapping[str, SetInput]
) -> list[TrainingSet]:
    """Put together the networks that differ by seed alone: distilled, random, full."""
    groups: dict[tuple[Hashable, ...], list[ModelInput]] = {}
    for model in models:
        groups.setdefault(_group_key(model.config), []).append(model)
    ordered = sorted(groups.values(), key=lambda group: _ORDER[group[0].config.training_set])
    firsts = [members[0].config for members in ordered]
    # Only what tells the networks of this report apart is said, so all have to be looked at.
    suffixes = network_suffixes(
        [Told(config.network, config.train, config.imported is not None) for config in firsts]
    )
    found: list[TrainingSet] = []
    for members, config, suffix in zip(ordered, firsts, suffixes, strict=True):
        distilled = distilled_sets.get(config.distilled_set_id or "")
        label = _label(config, distilled, suffix)
        # Two sets may be made alike from different seeds; people need to tell them apart.
        n_alike = sum(group.label.split(" #")[0] == label for group in found)
        in_order = sorted(members, key=lambda member: member.config.seed_index)
        found.append(
            TrainingSet(
                label=f"{label} #{n_alike + 1}" if n_alike else label,
                images=_images_words(config, suffix),
                models=tuple(network_of(member) for member in in_order),
                configs=tuple(member.config for member in in_order),
                distilled=distilled,
            )
        )
    return found


def network_of(model: ModelInput) -> Network:
    """Name a model as measurements do."""
    return Network(model.id, seed=model.config.seed, seed_index=model.config.seed_index)


def _group_key(config: ModelConfig) -> tuple[Hashable, ...]:
    # Not the number of networks: a job that adds seeds adds to the same training set.
    train = config.train and config.train.model_copy(update={"n_seeds": 1})
    made_of = (config.training_set, config.distilled_set_id, config.images_per_class)
    images = (config.n_train, config.split, config.input_space, config.herding, config.teacher)
    # Nobody knows whether two that came in are alike but for their seeds.
    came_from = config.imported and config.imported.sha256
    return (train, config.network, came_from, *made_of, *images)


def _training_suffix(config: ModelConfig, link: str) -> str:
    """What training adds to plain cross-entropy: the loss, the regulariser."""
    if config.train is None:
        return ""
    is_plain = isinstance(config.train.loss, CrossEntropy)
    words = ["" if is_plain else loss_words(config.train.loss)]
    is_usual = isinstance(config.train.optimiser, Sgd | None)
    words.append("" if is_usual else optimiser_words(config.train))
    words += [regulariser_words(config.train.regulariser), drop_words(config.train.drop)]
    told = ", ".join(filter(None, words))
    return f"{link}{told}" if told else ""


def _label(config: ModelConfig, distilled: SetInput | None, suffix: str) -> str:
    if config.training_set == "unknown":
        return suffix
    network = f", {suffix}" if suffix else ""
    return _set_label(config, distilled) + network + _training_suffix(config, ", ")


def _set_label(config: ModelConfig, distilled: SetInput | None) -> str:
    data = data_suffix(config.split, config.input_space)
    if config.training_set == "full":
        return f"full ({config.n_train:,} images{data})"
    each = f"{config.images_per_class} per class{data}"
    if distilled is None:
        return f"{config.training_set} ({each})"
    if distilled.manifest.method == "imported":
        return f"distilled elsewhere ({each})"
    spec = distilled.manifest.distill
    mdt = f", MDT {mask_words(spec.mask)}" if distilled.manifest.mask_ratio else ""
    further = regulariser_words(spec.regulariser)
    method = f"{distilled.manifest.method.upper()}{mdt}{further and f', {further}'}"
    return f"distilled ({method}, {each})"


def _images_words(config: ModelConfig, suffix: str) -> str:
    network = f" ({suffix})" if suffix else ""
    return _set_words(config) + network + _training_suffix(config, " with ")


IMAGES_WORDS: Mapping[TrainingSource, str] = {
    "distilled": "distilled",
    "random": "random real",
    "taught": "random real, teacher-labelled",
    "herding": "herded real",
    "full": "real",
    "unknown": "data unknown to this service",
}


def _set_words(config: ModelConfig) -> str:
    words = IMAGES_WORDS[config.training_set]
    if config.training_set == "full":
        return f"{config.n_train:,} {words} images"
    if config.training_set == "unknown":
        return words
    n = config.images_per_class
    return f"{n} {words} {'image' if n == 1 else 'images'} per class"
