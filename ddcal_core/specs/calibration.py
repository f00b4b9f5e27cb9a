"""How networks are calibrated."""

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Discriminator, Field, Tag

from ddcal_core.specs.fields import Spec, members_of
from ddcal_core.specs.masks import AutoMask, MaskSpec

TRAINING_SET: Literal["training_set"] = "training_set"
_FORMER_WORD = "distilled"  # before random and herded sets could be meant, too


def in_todays_word(fit_on: object) -> object:
    """What a request or a stored record calls the images fitted on, in today's word."""
    return TRAINING_SET if fit_on == _FORMER_WORD else fit_on


FitOn = Annotated[
    Literal["validation", "training_set"],
    BeforeValidator(in_todays_word),
    Field(
        description=(
            "Images the temperature is fitted on: real validation images, or the small set "
            "the network was trained on, which needs no further real label."
        )
    ),
]


class NoCalibration(Spec):
    """The network as trained: temperature 1."""

    method: Literal["none"]


Optimiser = Annotated[
    Literal["exact", "lbfgs_50", "lbfgs_200"],
    Field(
        description=(
            "exact solves for the temperature of least NLL. lbfgs_50 and lbfgs_200 take "
            "that many steps of L-BFGS, as the code that most papers follow does: they "
            "often stop far from the best temperature and are there for comparison only."
        )
    ),
]


class TemperatureScaling(Spec):
    """The temperature of least NLL (Guo et al., ICML 2017), solved exactly unless told not to."""

    method: Literal["ts"]
    fit_on: FitOn = "validation"
    optimiser: Optimiser = "exact"


def _ratio_tag(mask: object) -> str:
    is_auto = isinstance(mask, AutoMask) or (isinstance(mask, dict) and mask.get("ratio") == "auto")
    return "ratio auto" if is_auto else "ratio given"


class MaskedTemperatureScaling(Spec):
    """The temperature of least NLL on randomly masked images (MTS, arXiv 2307.12463).

    The ratio is found unless it is given: no one ratio serves all sets (docs/mask-ratio.md).
    """

    method: Literal["mts"]
    fit_on: FitOn = "training_set"
    mask: Annotated[
        # The one with a word first: who tries one after the other would take it for a number.
        Annotated[AutoMask, Tag("ratio auto")] | Annotated[MaskSpec, Tag("ratio given")],
        Discriminator(_ratio_tag),
        Field(description="The mask on the images fitted on. Default: its ratio is found."),
    ] = AutoMask(ratio="auto")
    draws_per_image: int | None = Field(
        None,
        ge=1,
        le=10_000,
        description="Masks drawn per image. Default: as few as give 1,000 masked images.",
    )


class VectorCalibration(Spec):
    """Vector scaling: a weight and a bias per class, pulled towards TS (Guo et al., ICML 2017).

    Wants far more labels than one number does; can change predictions.
    """

    method: Literal["vector"]
    fit_on: FitOn = "validation"


class IsotonicCalibration(Spec):
    """Isotonic regression: a rising function per class (Zadrozny and Elkan, KDD 2002).

    Wants far more labels than one number does; can change predictions.
    """

    method: Literal["isotonic"]
    fit_on: FitOn = "validation"


class EnsembleCalibration(Spec):
    """Ensemble temperature scaling: tempered, plain and uniform probabilities mixed (ICML 2020).

    Three numbers more than none, and no prediction changes. Source: Zhang, Kailkhura and Han.
    """

    method: Literal["ets"]
    fit_on: FitOn = "validation"


AnyCalibrationSpec = (
    NoCalibration
    | TemperatureScaling
    | MaskedTemperatureScaling
    | VectorCalibration
    | IsotonicCalibration
    | EnsembleCalibration
)
CALIBRATIONS: Mapping[str, type[Spec]] = members_of(AnyCalibrationSpec, "method")
"""The word in requests -> what can be asked of it; every table of calibrations follows this one."""
CalibrationSpec = Annotated[AnyCalibrationSpec, Field(discriminator="method")]


def _each_once(specs: list[CalibrationSpec]) -> list[CalibrationSpec]:
    for place, spec in enumerate(specs):
        if spec in specs[:place]:
            # Twice the same would be one row of networks that do not exist.
            raise ValueError(
                f"wanted each calibration once, got number {place} like number "
                f"{specs.index(spec)}, counted from 0"
            )
    return specs


CalibrationSpecs = Annotated[
    list[CalibrationSpec], Field(min_length=1, max_length=32), AfterValidator(_each_once)
]


def default_calibrations() -> list[CalibrationSpec]:
    """As trained; by labelled validation images; and by the small set alone, without any."""
    return [
        NoCalibration(method="none"),
        TemperatureScaling(method="ts"),
        MaskedTemperatureScaling(method="mts"),
    ]
