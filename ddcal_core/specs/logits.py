"""What is known of logits made elsewhere."""

from typing import Annotated, Literal

from pydantic import Field

from ddcal_core.specs.fields import NAME, Spec

LogitsName = Annotated[
    str,
    Field(
        pattern=NAME,
        description="The name of uploaded logits as listed by GET /v1/logits.",
        examples=["my-network"],
    ),
]


Values = Annotated[
    Literal["logits", "probabilities"] | None,
    Field(
        description=(
            "What the numbers are. Probabilities, also in percent or not quite summing to 1, are "
            "taken as their logarithms; a 0 as half of the smallest number above 0 in its part, at "
            "most 0.01 / K of its row's sum, a row of zeros as uniform. Default: logits, unless "
            "they look like probabilities: then the upload is refused until this says what they "
            "are."
        )
    ),
]


class LogitsOptions(Spec):
    """What the sender of logits says of them."""

    values: Values = None


class LogitsFacts(Spec):
    """What is known of uploaded logits without opening them.

    Attributes:
        class_names: one a class; label k, and column k of the logits, are the k-th.
        fit_class_counts: rows of each class to fit on.
        test_class_counts: rows of each class to measure on; empty where none were sent.
        dtype: of the logits as they are kept; float16 becomes float32.
        values: what was sent; probabilities are kept as their logarithms.
        n_test_in_fit: rows to measure on that also stand among those to fit on.
        notes: what is odd about them and what to do about it, a sentence or two each.
    """

    class_names: tuple[str, ...]
    fit_class_counts: tuple[int, ...]
    test_class_counts: tuple[int, ...]
    dtype: Literal["float32", "float64"]
    values: Literal["logits", "probabilities"] = "logits"
    n_test_in_fit: int = 0
    notes: tuple[str, ...] = ()

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
