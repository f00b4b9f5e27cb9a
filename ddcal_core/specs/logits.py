"""What can be asked of logits made elsewhere, and what is known of them. No torch here."""

from typing import Annotated, Literal

from pydantic import Field

from ddcal_core.specs import NoCalibration, Optimiser, Seed, Spec

LogitsName = Annotated[
    str,
    Field(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$",
        description="The name of uploaded logits as listed by GET /v1/logits.",
        examples=["my-network"],
    ),
]


class LogitsTemperatureScaling(Spec):
    """The temperature of least NLL, solved exactly unless told not to."""

    method: Literal["ts"]
    optimiser: Optimiser = "exact"


class LogitsScaling(Spec):
    """vector: a weight and a bias a class; isotonic: a rising function a class.

    Both need far more labels than one number does.
    """

    method: Literal["vector", "isotonic"]


LogitsCalibration = Annotated[
    NoCalibration | LogitsTemperatureScaling | LogitsScaling,
    Field(
        discriminator="method",
        description="There is no image and no network, so nothing to mask.",
    ),
]


class LogitsEvaluation(Spec):
    """What the report measures."""

    n_bins: int = Field(15, ge=1, le=100, description="Equal-width bins of the ECE.")


class CalibrateLogitsParams(Spec):
    """The params of a `calibrate` job on uploaded logits: fit, compare and report in one job."""

    logits: LogitsName
    seed: Seed = 0
    calibrate: list[LogitsCalibration] = Field(
        [NoCalibration(method="none"), LogitsTemperatureScaling(method="ts")],
        min_length=1,
        max_length=8,
        description="Each method and optimiser at most once; fitted on logits_fit alone.",
    )
    evaluate: LogitsEvaluation = LogitsEvaluation()


class LogitsFacts(Spec):
    """What is known of uploaded logits without opening them.

    Attributes:
        class_names: one a class; label k, and column k of the logits, are the k-th.
        fit_class_counts: rows of each class to fit on.
        test_class_counts: rows of each class to measure on; empty where none were sent.
        dtype: of the logits.
    """

    class_names: tuple[str, ...]
    fit_class_counts: tuple[int, ...]
    test_class_counts: tuple[int, ...]
    dtype: Literal["float32", "float64"]

    @property
    def n_classes(self) -> int:
        """How many classes K there are."""
        return len(self.class_names)

    @property
    def n_fit(self) -> int:
        """How many rows there are to fit on."""
        return sum(self.fit_class_counts)

    @property
    def n_test(self) -> int:
        """How many rows there are to measure on; 0 where none were sent."""
        return sum(self.test_class_counts)
