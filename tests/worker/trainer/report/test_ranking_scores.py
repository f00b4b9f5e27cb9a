import math

import pytest

from ddcal_core.formats.report_rows import Row, Summary
from tests.core.formats.stored import model_config, set_manifest
from worker.trainer.inputs import ModelInput, SetInput
from worker.trainer.report.ranking_scores import ranking_scores
from worker.trainer.report.training_sets import group_models

SETS = {
    "set_1": SetInput(
        id="set_1", path="/", manifest=set_manifest(mask_ratio=0.0, distill={"iterations": 3})
    )
}
SIZES = {"distilled": 10, "random": 10, "herding": 10, "full": None}


def model(source, **changes):
    """A network of some training set."""
    fields = {
        "training_set": source,
        "distilled_set_id": "set_1" if source == "distilled" else None,
        "images_per_class": SIZES[source],
        "n_train": 100,
        "train": {"lr": 0.1, "epochs": 9},
    }
    name = f"{source} {sorted(changes.items())}"
    return ModelInput(id=name, path="/", config=model_config(**fields | changes))


def scored(models, accuracies):
    """The scores of training sets of such accuracies, mean and deviation, in the models' order."""
    groups = group_models(models, SETS)
    assert len(groups) == len(models)
    of_source = dict(zip([one.config.training_set for one in models], accuracies, strict=True))
    rows = [
        Row.model_construct(
            training_set_label=group.label,
            method="none",
            accuracy=Summary(mean=of_source[group.source][0], std=of_source[group.source][1]),
        )
        for group in groups
    ]
    return ranking_scores(groups, rows)


def test_both_are_differences_of_accuracies():
    """HLR is full less distilled, IOR distilled less random; deviations add up in squares."""
    models = [model("distilled"), model("random"), model("full", train={"lr": 0.01, "epochs": 3})]
    (found,) = scored(models, [(0.6, 0.03), (0.45, 0.04), (0.9, None)])
    assert found.training_set_label == "distilled (DM, 10 per class)"
    assert found.hard_label_recovery.mean == pytest.approx(0.3)
    assert found.hard_label_recovery.deviation is None
    assert found.hard_label_recovery.beside == "full (100 images)"
    assert found.improvement_over_random.mean == pytest.approx(0.15)
    assert found.improvement_over_random.deviation == pytest.approx(math.hypot(0.03, 0.04))
    assert found.improvement_over_random.beside == "random (10 per class)"


@pytest.mark.parametrize(
    "other",
    [
        {"train": {"lr": 0.1, "epochs": 9, "loss": {"name": "focal"}}},
        {"train": {"lr": 0.1, "epochs": 9, "drop": {"what": "pixels", "share": 0.5}}},
        {"images_per_class": 1},
        {"network": {"name": "alexnet"}},
    ],
)
def test_what_was_trained_otherwise_is_no_measure(other):
    """Another loss, less information, another size or network: nothing to compare with."""
    assert scored([model("distilled"), model("random", **other)], [(0.6, None)] * 2) == []


def test_what_there_is_is_measured():
    """One of the two alone; herded images are not random, and no set is held against itself."""
    (found,) = scored([model("distilled"), model("full")], [(0.6, None), (0.9, None)])
    assert found.improvement_over_random is None
    assert found.hard_label_recovery.mean == pytest.approx(0.3)
    assert scored([model("distilled"), model("herding")], [(0.6, None)] * 2) == []
    assert scored([model("random"), model("full")], [(0.6, None)] * 2) == []


def test_soft_labels_are_not_held_against_hard_ones():
    """Neither measure is of them here."""
    models = [model("distilled", has_soft_labels=True), model("random"), model("full")]
    assert scored(models, [(0.6, None)] * 3) == []
