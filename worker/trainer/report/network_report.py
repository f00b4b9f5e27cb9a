"""Measurements of networks -> report.json."""

from collections.abc import Sequence
from dataclasses import dataclass

from ddcal_core.formats.report_analyses import (
    AttributionAnalysis,
    Comparison,
    LogitAnalysis,
    MaskedLogitCurve,
    MtsCurve,
    ProbeAnalysis,
    RankingScores,
    SpectrumAnalysis,
)
from ddcal_core.formats.report_rows import Row
from ddcal_core.formats.reports import (
    DistilledSetFacts,
    KnownTrainingSet,
    Report,
    ReportMadeWith,
)
from worker.trainer.inputs import DatasetInput, SetInput
from worker.trainer.report.analyses import logit_words, spectrum_words
from worker.trainer.report.conventions import CONVENTIONS
from worker.trainer.report.findings import findings
from worker.trainer.report.training_sets import TrainingSet


@dataclass(frozen=True, kw_only=True)
class Analyses:
    """What a report holds beside its table.

    Attributes:
        curves: ECE over the mask ratio.
        masked_logits: what masks do to the logits, one a training set.
        ranking: HLR and IOR of each distilled set that has something beside it.
        probes: what beside the class the networks know, where it was asked for.
        attributions: which pixels they go by, likewise.
        comparisons: which calibration won, for each training set that has several.
        logits: one a training set.
        spectra: one a distilled set.
    """

    curves: Sequence[MtsCurve]
    masked_logits: Sequence[MaskedLogitCurve]
    ranking: Sequence[RankingScores]
    probes: Sequence[ProbeAnalysis]
    attributions: Sequence[AttributionAnalysis]
    comparisons: Sequence[Comparison]
    logits: Sequence[LogitAnalysis]
    spectra: Sequence[SpectrumAnalysis]


def build_report(
    dataset: DatasetInput,
    groups: Sequence[TrainingSet],
    rows: Sequence[Row],
    analyses: Analyses,
    made_with: ReportMadeWith,
) -> Report:
    """Put everything together that report.json holds.

    Args:
        dataset: of the classes that the networks tell apart.
        groups: the training sets.
        rows: from `build_rows`.
        analyses: what there is beside them.
        made_with: seed, versions and seconds.
    """
    said = findings(dataset.name, rows)
    return Report(
        dataset=dataset.name,
        headline=said[0],
        findings=(said[0], *dataset.facts.notes, *said[1:]),
        n_test=rows[0].n_test,
        n_bins=rows[0].n_bins,
        class_names=dataset.facts.class_names,
        image_shape=dataset.facts.image_shape,
        training_sets=tuple(map(_training_set, groups)),
        rows=tuple(rows),
        mts_curves=tuple(analyses.curves),
        masked_logits=tuple(analyses.masked_logits),
        ranking=tuple(analyses.ranking),
        probes=tuple(analyses.probes),
        attributions=tuple(analyses.attributions),
        comparisons=tuple(analyses.comparisons),
        logit_analysis=tuple(analyses.logits),
        logit_words=logit_words(analyses.logits),
        spectrum_analysis=tuple(analyses.spectra),
        spectrum_words=spectrum_words(analyses.spectra),
        conventions=CONVENTIONS,
        calibration_ids=tuple(sorted({id_ for row in rows for id_ in row.calibration_ids})),
        made_with=made_with,
    )


def _training_set(group: TrainingSet) -> KnownTrainingSet:
    config = group.configs[0]
    # Networks on a distilled set have seen no real image; the set knows what it was made from.
    behind = config if group.distilled is None else group.distilled.manifest
    return KnownTrainingSet(
        label=group.label,
        training_set=config.training_set,
        distilled_set_id=config.distilled_set_id,
        images_per_class=config.images_per_class,
        split=config.split,
        network=config.network,
        train=config.train,
        n_train=config.n_train,
        input_space=config.input_space,
        train_accuracy=tuple(
            one.train_accuracy for one in group.configs if one.train_accuracy is not None
        ),
        model_ids=tuple(model.id for model in group.models),
        real_class_counts=behind.real_class_counts,
        distilled=None if group.distilled is None else _distilled(group.distilled),
        imported=config.imported,
    )


def _distilled(distilled: SetInput) -> DistilledSetFacts:
    manifest = distilled.manifest
    return DistilledSetFacts(
        id=distilled.id,
        n_real_images=manifest.n_real_images,
        method=manifest.method,
        mask_ratio=manifest.mask_ratio,
        seed=manifest.seed,
        distill=manifest.distill,
        seconds=manifest.seconds,
        calibration_factor=manifest.calibration_factor,
        n_images=manifest.n_images,
        warnings=manifest.warnings,
        imported=manifest.imported,
    )
