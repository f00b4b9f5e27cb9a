"""HLR and IOR of DD-Ranking: what a distilled set lacks, and what it adds, in accuracy."""

import math
from collections.abc import Sequence

from ddcal_core.formats.manifests import ModelConfig
from ddcal_core.formats.report_analyses import AccuracyDifference, RankingScores
from ddcal_core.formats.report_rows import Row, Summary
from worker.trainer.report.training_sets import TrainingSet


def ranking_scores(groups: Sequence[TrainingSet], rows: Sequence[Row]) -> list[RankingScores]:
    """Hold each distilled set against networks on all images and on as many random ones.

    Only networks are compared that were trained alike, but for epochs and learning rate, which go
    with the set; a set with soft labels has none with hard ones to be compared.

    Args:
        groups: the training sets.
        rows: of them all, those without a calibration among them.

    Source:
        Li et al., arXiv 2505.13300 (DD-Ranking): HLR = accuracy on real with hard labels - on the
        set with hard labels; IOR = accuracy on the set - on as many random real images.
    """
    accuracies = {row.training_set_label: row.accuracy for row in rows if row.method == "none"}
    found = []
    for group in groups:
        if group.source != "distilled" or group.configs[0].has_soft_labels:
            continue
        full, random = _alike(group, groups, "full"), _alike(group, groups, "random")
        own = accuracies[group.label]
        scores = RankingScores(
            training_set_label=group.label,
            hard_label_recovery=full and _difference(full, accuracies[full.label], own),
            improvement_over_random=random and _difference(random, own, accuracies[random.label]),
        )
        if full or random:
            found.append(scores)
    return found


def _alike(group: TrainingSet, groups: Sequence[TrainingSet], source: str) -> TrainingSet | None:
    """The networks of another source that were trained as these were; of several the first."""
    config = group.configs[0]
    for other in groups:
        if other.source == source and _made_of(other.configs[0], source) == _made_of(
            config, source
        ):
            return other
    return None


def _made_of(config: ModelConfig, source: str) -> tuple[object, ...]:
    train = config.train and config.train.model_copy(update={"n_seeds": 1, "epochs": 1, "lr": None})
    size = config.images_per_class if source == "random" else None
    return train, config.network, config.split, config.input_space, size


def _difference(other: TrainingSet, minuend: Summary, subtrahend: Summary) -> AccuracyDifference:
    deviations = (minuend.std, subtrahend.std)
    known = [one for one in deviations if one is not None]
    return AccuracyDifference(
        beside=other.label,
        mean=minuend.mean - subtrahend.mean,
        deviation=math.hypot(*known) if len(known) == len(deviations) else None,
    )
