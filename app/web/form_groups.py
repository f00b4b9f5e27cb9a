"""How the form for a job is laid out: what most people choose, then all else, folded."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from app.web.request_fields import PARTS, FormField, Path
from app.web.words import words


@dataclass(frozen=True, kw_only=True)
class Asked:
    """A field that everybody sees.

    Attributes:
        label: what it is called.
        help: what it decides, in a sentence.
    """

    label: str
    help: str


@dataclass(frozen=True, kw_only=True)
class Group:
    """Fields under one heading."""

    title: str
    help: str
    fields: Sequence[FormField]


_DISTILL: Path = ("params", "distill")
ASKED: Mapping[Path, Asked] = {
    ("params", "dataset"): Asked(
        label="Data set",
        help="The images to start from; your own are here once they are uploaded.",
    ),
    (*_DISTILL, "method"): Asked(
        label="Method", help="How the real images become a few synthetic ones."
    ),
    (*_DISTILL, "preset"): Asked(
        label="Preset",
        help="smoke runs on two CPU cores within minutes; published takes the paper's numbers, "
        "wants a GPU, and is there for the data sets and sizes that the paper reports.",
    ),
    (*_DISTILL, "images_per_class"): Asked(
        label="Images per class",
        help="How many synthetic images each class gets: 1, 10 and 50 are usual.",
    ),
    (*_DISTILL, "mask", "ratio"): Asked(
        label="Mask ratio (MDT)",
        help="Share of pixels masked while images are distilled; it makes networks that are "
        "trained on them easier to calibrate. 0 is none, 0.3 a usual value.",
    ),
    ("params", "train", "network"): Asked(
        label="Network", help="What is trained on the distilled images."
    ),
    ("params", "train", "n_seeds"): Asked(
        label="Number of networks",
        help="Each is trained from its own seed: the report gives their mean and spread.",
    ),
    ("params", "calibrate"): Asked(
        label="Calibrations",
        help="A row of the report each. ts is temperature scaling, mts the same on masked images; "
        "on the small set alone it needs no further labelled image.",
    ),
    ("params", "calibrate", "mts_ratios"): Asked(
        label="MTS with these mask ratios",
        help="Further rows, on the small set alone: shares such as 0.3, 0.5. Otherwise the ratio "
        "is found.",
    ),
    ("params", "baselines"): Asked(
        label="Baselines",
        help="Training sets to compare with: as many random real images, for one.",
    ),
    ("params", "seed"): Asked(label="Seed", help="The same seed gives the same result."),
    ("name",): Asked(label="Name", help="What you call this job, to find it again."),
}
"""What most people choose, in the order in which it is asked."""
_TITLES: Mapping[str, tuple[str, str]] = {
    "": ("Data", "Which of the images are used, and as what networks see them."),
    "distill": (
        "Distillation",
        "What is left empty is as the preset has it. A field that the method does not have is "
        "refused.",
    ),
    "experts": ("Experts", "Of method mtt alone: the networks whose training is imitated."),
    "train": ("Training", "How networks are trained on the distilled images."),
    "evaluate": ("Report", "What is measured beside accuracy and calibration."),
    "job": ("The job", "When it runs, how long it may take, and how it is found again."),
}


def asked_fields(fields: Sequence[FormField]) -> list[tuple[FormField, Asked]]:
    """The fields that everybody sees, in their order."""
    by_path = {field.path: field for field in fields}
    return [(by_path[path], asked) for path, asked in ASKED.items()]


def further_groups(fields: Sequence[FormField]) -> list[Group]:
    """All other fields by the part of the request that they belong to."""
    held: dict[str, list[FormField]] = {part: [] for part in _TITLES}
    for field in fields:
        if field.path not in ASKED:
            held.setdefault(_part_of(field.path), []).append(field)
    return [
        Group(title=title, help=help_text, fields=held[part])
        for part in held
        for title, help_text in [_TITLES.get(part, (words(part), ""))]
        if held[part]
    ]


def _part_of(path: Path) -> str:
    if path[0] != "params":
        return "job"
    if path[1].startswith("train_"):
        return "train"
    return path[1] if path[1] in PARTS else ""
