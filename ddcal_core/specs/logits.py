"""What is known of logits made elsewhere."""

from typing import Annotated, Literal

from pydantic import Field

from ddcal_core.specs.fields import Spec

LogitsName = Annotated[
    str,
    Field(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$",
        description="The name of uploaded logits as listed by GET /v1/logits.",
        examples=["my-network"],
    ),
]


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
