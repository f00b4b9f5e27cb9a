"""The card of a network, as it is or calibrated."""

import json
from collections.abc import Sequence

from ddcal_core.formats.exports.cards import Card, Declared, Facts
from ddcal_core.formats.exports.evidence import Measured
from ddcal_core.formats.exports.set_card import made_with_words
from ddcal_core.formats.manifests import CalibratedModelConfig, ModelConfig
from ddcal_core.specs.foreign_networks import is_onnx

_GOOD_FOR = """\
- Images like those of its data set, of its size and classes; what else it is shown, it takes for \
one of them all the same.
- Studying calibration, and networks trained on few images.

Not good for:

- Decisions about people, or anything where a wrong label does harm: it was trained on few images.
- Confidence beyond what *Calibration* says; shifted images were not measured."""


def model_card(config: ModelConfig, measured: Sequence[Measured], declared: Declared) -> Card:
    """Give the card of a network.

    Args:
        config: what its config.json says.
        measured: what reports say of it.
        declared: of the data set.
    """
    is_calibrated = isinstance(config, CalibratedModelConfig)
    network = config.network.described()
    kind = "calibrated" if is_calibrated else "not calibrated"
    return Card(
        title=f"{network['name']} for {config.dataset}, {kind}",
        summary=(
            f"A network that tells {config.facts.n_classes} classes apart, "
            f"{_trained_words(config)}."
        ),
        metadata={
            "library_name": "ddcal",
            "pipeline_tag": "image-classification",
            "datasets": [config.dataset],
        },
        tags=("dataset-distillation", "calibration"),
        facts=_facts(config),
        sections=[
            ("How to use it", _usage(config)),
            ("All settings", f"```json\n{_settings(config)}\n```"),
            ("What it is good for", _GOOD_FOR),
        ],
        measured=measured,
        declared=declared,
    )


def _trained_words(config: ModelConfig) -> str:
    if config.imported is not None:
        return f"made elsewhere and imported from a file of {config.imported.file_format}"
    return f"trained on {config.n_train:,} images ({config.training_set})"


def _of_training(config: ModelConfig) -> Facts:
    imported, accuracy = config.imported, config.train_accuracy
    if imported is not None:
        tried = f"{100 * imported.tried_accuracy:.2f} % right on {imported.n_tried:,} images"
        numbers = f"(pixel - {list(imported.mean)}) / {list(imported.std)}"
        return [
            ("Imported from", f"{imported.file_format}, sha256 {imported.sha256}"),
            ("Reads", f"{imported.input_shape}, {imported.layout}, {numbers}"),
            ("Answers with", imported.outputs),
            ("Tried when it came in", tried),
            ("Note", " ".join(imported.notes) or None),
        ]
    return [
        ("Images trained on", f"{config.n_train:,}"),
        ("Accuracy on these", None if accuracy is None else f"{100 * accuracy:.2f} %"),
    ]


def _facts(config: ModelConfig) -> Facts:
    facts: list[tuple[str, object]] = [
        ("Data set", config.dataset),
        ("Trained on", config.training_set),
        ("Distilled set", config.distilled_set_id),
        ("Images per class", config.images_per_class),
        *_of_training(config),
        ("Image shape (C, H, W)", config.image_shape),
        ("Input space", config.input_space.name),
        ("Mean, std of each channel", f"{config.mean}, {config.std}"),
        ("Seed", f"{config.seed}, network {config.seed_index}"),
        ("Made with", made_with_words(config.made_with)),
    ]
    if isinstance(config, CalibratedModelConfig):
        found = config.calibration
        facts += [
            ("Calibration", found.method),
            ("Fitted on", found.fit_on),
            ("Masked while fitted", found.mask_ratio and f"{100 * found.mask_ratio:g} %"),
            ("Status", found.status),
            ("Temperature", config.temperature and f"{config.temperature:.6g}"),
        ]
    return facts


def _usage(config: ModelConfig) -> str:
    if isinstance(config, CalibratedModelConfig):
        lines = [f"- `{name}`: {how}" for name, how in config.how_to_use.items()]
        return "\n".join(lines)
    if is_onnx(config.network):
        return (
            "`model.onnx` is the graph as it came in, of input and output as they are told above; "
            "the format onnx has what stands between it and pixels inside."
        )
    return (
        "`model.safetensors` holds the weights of the network that `config.json` describes. It "
        f"reads {config.input_space.words}, and gives logits, one a class name."
    )


def _settings(config: ModelConfig) -> str:
    said = {
        "network": config.network.described(),
        "train": config.train and config.train.model_dump(mode="json", exclude_none=True),
        "split": config.split.as_json(),
    }
    return json.dumps(said, indent=1, ensure_ascii=False)
