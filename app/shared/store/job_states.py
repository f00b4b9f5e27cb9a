"""The states of a job; engine/jobs.py has the picture of how one leads to another."""

from typing import Literal, get_args

JobState = Literal[
    "scheduled",
    "blocked",
    "queued",
    "running",
    "cancelling",
    "succeeded",
    "partial",
    "failed",
    "cancelled",
    "expired",
]
JOB_STATES: tuple[JobState, ...] = get_args(JobState)
TERMINAL_STATES: tuple[JobState, ...] = (
    "succeeded", "partial", "failed", "cancelled", "expired",
)  # fmt: skip
"""`partial` of a study alone: some of its cells have been measured, and some have not."""
WAITING_STATES: tuple[JobState, ...] = ("scheduled", "blocked", "queued")
ACTIVE_STATES: tuple[JobState, ...] = ("running", "cancelling")
RESERVED_STATES = ("pausing", "paused")
"""The database's CHECK knows them since its first revision; no job of this version has them."""
