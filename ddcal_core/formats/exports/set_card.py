"""The card of a distilled set."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ddcal_core.formats.exports.cards import Card, Facts, write_card
from ddcal_core.formats.exports.exported_set import ExportedSet
from ddcal_core.formats.manifests import MadeWith, SetManifest
from ddcal_core.specs.regularisers import regulariser_words

_GOOD_FOR = """\
- Training small networks in seconds, of the kind it was distilled for: others may do much worse.
- Starting a further distillation, and comparing methods of distillation or of calibration.

Not good for:

- Measuring anything: test on real images, never on these.
- Looking at the classes: what the pictures show need not look like a member of its class.
- Hiding the images it was made from: nothing was done for privacy.
- Confidence as it comes: see *Calibration*."""


def set_card(exported: ExportedSet, metadata: Mapping[str, Any] | None = None) -> Card:
    """Give the card of a distilled set.

    Args:
        exported: the set.
        metadata: for programs that load what the card lies beside.
    """
    manifest = exported.manifest
    n_each = manifest.images_per_class
    per_class = f"{n_each} {'image' if n_each == 1 else 'images'} per class"
    how = f"by {manifest.method.upper()}" if manifest.imported is None else "elsewhere"
    return Card(
        title=f"{manifest.dataset}, distilled {how}, {per_class}",
        summary=(
            f"{manifest.n_images:,} synthetic images of {manifest.facts.n_classes} classes, to "
            "train networks on in place of the training images of a data set."
        ),
        metadata={
            "pretty_name": f"{manifest.dataset} distilled ({manifest.method})",
            "task_categories": ["image-classification"],
            "size_categories": [_size(manifest.n_images)],
            **(metadata or {}),
        },
        tags=("dataset-distillation", "dataset-condensation", "calibration"),
        facts=_facts(manifest, is_soft=exported.stored.soft_labels is not None),
        sections=[
            ("How to train on it", _training(exported)),
            ("All settings", f"```json\n{_settings(manifest)}\n```"),
            ("What it is good for", _GOOD_FOR),
        ],
        measured=exported.measured,
        declared=exported.declared,
    )


def write_set_card(path: Path, exported: ExportedSet) -> None:
    """Write the card by itself."""
    write_card(path, set_card(exported))


def _facts(manifest: SetManifest, *, is_soft: bool) -> Facts:
    mask = f"{100 * manifest.mask_ratio:g} % of the pixels in each step"
    imported = manifest.imported
    return [
        ("Data set", manifest.dataset),
        ("Real images distilled from", manifest.n_real_images),
        ("Method", manifest.method),
        ("Images per class", manifest.images_per_class),
        ("Image shape (C, H, W)", manifest.image_shape),
        ("Labels", "soft, a probability of each class" if is_soft else "hard"),
        ("Mask", mask if manifest.mask_ratio else "none"),
        ("Regulariser", regulariser_words(manifest.distill.regulariser) or None),
        ("Seed", manifest.seed),
        ("Steps", manifest.n_steps if imported is None else None),
        ("Step chosen by validation images", manifest.chosen_step if imported is None else None),
        ("Learning rate learned with it", manifest.learned_lr),
        ("Input space", manifest.input_space.name),
        ("Mean, std of each channel", f"{manifest.mean}, {manifest.std}"),
        ("Made with", made_with_words(manifest.made_with)),
        ("Imported", imported and f"from a file of format {imported.file_format}, sha256 "
         f"{imported.sha256}, set {imported.experiment + 1} of {imported.n_experiments}"),
        *(("Known of it", note) for note in (imported.notes if imported else ())),
        *(("Warning", warning.message) for warning in manifest.warnings),
    ]  # fmt: skip


def made_with_words(made: MadeWith | None) -> str:
    """Give what something was computed with, in words."""
    if made is None:
        return "not known"
    threads = "1 thread" if made.threads == 1 else f"{made.threads} threads"
    return f"PyTorch {made.torch}, {made.device}, {threads}"


def _training(exported: ExportedSet) -> str:
    manifest = exported.manifest
    share = exported.share_clipped
    clipped = (
        f"; {100 * share:.1f} % of the values lie outside of black to white and are clipped"
        if share
        else ""
    )
    return (
        f"Images are network input: {manifest.input_space.words}. Feed them to a network as they "
        "are, and real images after the same transform. Normalising them once more is the usual "
        f"mistake.\n\nBack to pixels: {manifest.input_space.way_back}. In PNGs they are rounded to "
        f"256 levels{clipped}.\n\nTrained on it here, unless told otherwise:\n\n"
        f"```json\n{json.dumps(manifest.train_with, indent=1)}\n```"
    )


def _settings(manifest: SetManifest) -> str:
    said = {"distill": manifest.distill.as_json(), "split": manifest.split.as_json()}
    return json.dumps(said, indent=1, ensure_ascii=False)


def _size(n_images: int) -> str:
    """Hugging Face's word for a number of rows."""
    if n_images < 1_000:
        return "n<1K"
    return "1K<n<10K" if n_images < 10_000 else "10K<n<100K"
