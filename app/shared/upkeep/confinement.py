"""What jobs on this machine can reach beside their own files."""

from app.shared.settings import Settings
from ddcal_core.intake.sandbox.confinement import facilities, lacking


def not_kept_from(settings: Settings) -> tuple[str, ...]:
    """From what no job is kept here, in words; empty where each has its own alone."""
    if not settings.confine_jobs:
        return ("anything: DDCAL_CONFINE_JOBS is off",)
    return lacking(facilities())
