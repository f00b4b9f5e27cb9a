"""What jobs make, in the words of rows, messages and addresses (standard library only)."""

from typing import Literal

Resource = Literal[
    "expert_set", "distilled_set", "model", "calibration", "report", "comparison"
]  # fmt: skip
