"""What a report's report.json says, and how one is read back, of this version or an earlier one.

Needs no torch: whoever shows or compares stored reports reads them by this.
"""

import json
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from ddcal_core.errors import InvalidDataError
from ddcal_core.formats.calibrations import TrainingSource
from ddcal_core.formats.imported_networks import ImportedNetwork
from ddcal_core.formats.imported_sets import ImportedSet
from ddcal_core.formats.manifests import (
    DescribedNetwork,
    DistillSettings,
    MadeWith,
    NoSetFactor,
    SetFactor,
    SetWarning,
    Split,
)
from ddcal_core.formats.records import Record, VersionedRecord, is_empty, read_record
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
from ddcal_core.formats.report_rows import Row, RowSummary
from ddcal_core.specs.fields import is_none
from ddcal_core.specs.spaces import InputSpaceSpec
from ddcal_core.specs.training import TrainSpec


class DistilledSetFacts(Record):
    """How the distilled set behind a training set was made; see `manifests.SetProvenance`.

    Attributes:
        id: of the set.
        n_real_images: real images distilled from; None where that is not known.
        method: of the distillation.
        mask_ratio: share of synthetic pixels masked in each step (MDT), in [0, 1).
        seed: of the job.
        distill: how it was distilled.
        seconds: of the distillation.
        calibration_factor: for the temperatures of networks trained on the set; None where it was
            not measured.
        n_images: in all.
        warnings: what the validation scores say against the set.
        imported: where a set made elsewhere came from.
    """

    id: str
    n_real_images: int | None
    method: str
    mask_ratio: float
    seed: int
    distill: DistillSettings
    seconds: float
    calibration_factor: SetFactor | NoSetFactor | None
    n_images: int
    warnings: tuple[SetWarning, ...] = Field((), exclude_if=is_empty)
    imported: ImportedSet | None = Field(None, exclude_if=is_none)


class KnownTrainingSet(Record):
    """Networks that differ by seed alone, and what they were trained on.

    Attributes:
        label: for people, unlike any other's of the report.
        training_set: what was trained on, by `source` of the train job.
        distilled_set_id: of the distilled set, where it was one.
        images_per_class: of the training set; None for the full data, and where it is not known.
        split: which images are real training images, and which validation images.
        network: name and options.
        train: how it was trained; None of one made elsewhere.
        n_train: images trained on; likewise.
        input_space: what the networks read of pixels.
        train_accuracy: of each network on its own training images, in [0, 1], where it is known.
        model_ids: of each network, by seed.
        real_class_counts: real images left by the cut, of each class; None where that is not known.
        distilled: how the distilled set was made, where it was one.
        imported: where a network made elsewhere came from, and how it is read.
    """

    label: str
    training_set: TrainingSource
    distilled_set_id: str | None
    images_per_class: int | None
    split: Split
    network: DescribedNetwork
    train: TrainSpec | None
    n_train: int | None
    input_space: InputSpaceSpec
    train_accuracy: tuple[float, ...]
    model_ids: tuple[str, ...]
    real_class_counts: tuple[int, ...] | None
    distilled: DistilledSetFacts | None
    imported: ImportedNetwork | None = Field(None, exclude_if=is_none)


class UnknownTrainingSet(Record):
    """What uploaded logits were trained on: all that nobody knows of it is null.

    Attributes:
        label: for people.
        model_ids: the name of the logits.
    """

    label: str
    training_set: Literal["elsewhere"]
    distilled_set_id: None = None
    images_per_class: None = None
    n_train: None = None
    split: None = None
    network: None = None
    train: None = None
    train_accuracy: None = None
    distilled: None = None
    model_ids: tuple[str, ...]


ReportedTrainingSet = Annotated[
    KnownTrainingSet | UnknownTrainingSet, Field(discriminator="training_set")
]


class ReportMadeWith(MadeWith):
    """What a report was computed with, and how.

    Attributes:
        seed: of the chance level's draws, among others.
        seconds: of the whole job.
    """

    seed: int
    seconds: float


class ReportHeadline(Record):
    """What is stored of a report beside its files: no bins, no networks; fractions, not percent.

    Attributes:
        dataset: name of the data set, or of the logits.
        headline: the main finding.
        findings: what the numbers say, in sentences, the headline first.
        n_test: test images, or rows of logits, behind every number.
        measured_on: which rows, of uploaded logits.
        n_bins: equal-width bins of the ECE.
        rows: the table; those of one training set together, `none` first.
        calibration_ids: of all calibrations measured.
        logits: the name of the uploaded logits it is about.
    """

    dataset: str
    headline: str
    findings: tuple[str, ...]
    n_test: int
    measured_on: Literal["test rows", "fit rows"] | None = Field(None, exclude_if=is_none)
    n_bins: int
    rows: tuple[RowSummary, ...]
    calibration_ids: tuple[str, ...]
    logits: str | None = Field(None, exclude_if=is_none)


class Report(ReportHeadline, VersionedRecord):
    """A report's report.json.

    Attributes:
        format: for other programs.
        class_names: of label 0, 1, ...
        image_shape: (C, H, W); None of uploaded logits.
        training_sets: distilled first, full last.
        mts_curves: ECE over the mask ratio.
        masked_logits: size and variety of the largest logits over it, of each training set.
        ranking: HLR and IOR of DD-Ranking, of each distilled set that has something beside it.
        probes: what beside the class linear probes find, where they were asked for.
        attributions: which pixels the networks go by, where it was asked for.
        comparisons: which calibration won; of each training set that has several.
        logit_analysis: of each training set; empty for one class, and of uploaded logits.
        logit_words: what it says.
        spectrum_analysis: of each distilled set that is not too large.
        spectrum_words: what it says.
        facts: the figures at the head of the page, where they are not those of images.
        conventions: what each number is, by name.
        made_with: torch, device, seed and time.
        steps: how everything was computed, where the training sets do not say it.
    """

    KIND: ClassVar[str] = "report"

    format: str = "ddcal report 1"
    class_names: tuple[str, ...]
    image_shape: tuple[int, int, int] | None
    training_sets: tuple[ReportedTrainingSet, ...]
    rows: tuple[Row, ...]
    mts_curves: tuple[MtsCurve, ...]
    masked_logits: tuple[MaskedLogitCurve, ...] = Field((), exclude_if=is_empty)
    ranking: tuple[RankingScores, ...] = Field((), exclude_if=is_empty)
    probes: tuple[ProbeAnalysis, ...] = Field((), exclude_if=is_empty)
    attributions: tuple[AttributionAnalysis, ...] = Field((), exclude_if=is_empty)
    comparisons: tuple[Comparison, ...]
    logit_analysis: tuple[LogitAnalysis, ...]
    logit_words: str | None = Field(None, exclude_if=is_none)
    spectrum_analysis: tuple[SpectrumAnalysis, ...]
    spectrum_words: str | None = Field(None, exclude_if=is_none)
    facts: dict[str, str] | None = Field(None, exclude_if=is_none)
    conventions: dict[str, str]
    made_with: ReportMadeWith
    steps: tuple[str, ...] | None = Field(None, exclude_if=is_none)

    @classmethod
    def upgraded(cls, held: Mapping[str, Any]) -> dict[str, Any]:
        """Give version 1 as version 2: earlier reports compared and analysed less.

        Nor did their rows have further measures, or their curves a choice of masks.
        """
        nothing: dict[str, Any] = {"comparisons": [], "logit_analysis": [], "spectrum_analysis": []}
        return {
            **nothing,
            **super().upgraded(held),
            "rows": _completed(held.get("rows"), _LACKING),
            "mts_curves": _completed(held.get("mts_curves", []), {"mask": {}}),
        }

    def headline_values(self) -> dict[str, Any]:
        """Give the report's headline as JSON values."""
        left_out = {"rows": {"__all__": {"networks"}}}
        return self.model_dump(
            mode="json", include=set(ReportHeadline.model_fields), exclude=left_out
        )


_LACKING = {"optimiser": None, "further": None, "guessing": None}


def _completed(listed: object, lacking: Mapping[str, Any]) -> object:
    """Give each of several records the fields that it lacks; what is none is left to be refused."""
    if not isinstance(listed, list):
        return listed
    return [{**lacking, **one} if isinstance(one, Mapping) else one for one in listed]


def read_report(held: bytes | str | Mapping[str, Any]) -> Report:
    """Read a report of this version or an earlier one.

    Args:
        held: report.json as it lies on disk, or its fields.

    Raises:
        InvalidDataError: it is no report, or of a version that this ddcal does not know.
    """
    try:
        fields = held if isinstance(held, Mapping) else json.loads(held)
    except ValueError as error:
        raise InvalidDataError(f"wanted a report as JSON; got: {error}") from error
    if not isinstance(fields, Mapping):
        raise InvalidDataError(f"wanted a report's fields as JSON; got {type(fields).__name__}")
    return read_record(Report, fields)
