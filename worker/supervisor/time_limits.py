"""When a supervisor's patience with a run or with a trainer's start is over."""

from app.shared.settings import Settings
from app.shared.store.kinds import INTAKE
from worker.supervisor.run_state import Run
from worker.supervisor.trainer_process import TrainerProcess


def limit_passed(run: Run, settings: Settings, now: float) -> str | None:
    """Why a run has to stop by the clock: "timeout", "stall", or None.

    Args:
        run: as it stands.
        settings: of the service.
        now: by the clock of the run.
    """
    limit = run.job.timeout_seconds
    if run.job.kind == INTAKE:
        limit = round(settings.intake_timeout_seconds)
    if limit is not None and now - run.started > limit:
        return "timeout"
    patience = run.job.stall_seconds or settings.stall_seconds
    return "stall" if now - run.heard_at > patience else None


def has_not_started(trainer: TrainerProcess, settings: Settings, now: float) -> bool:
    """Is a trainer not ready, so long after its start that it never will be?"""
    is_late = now - trainer.started > settings.start_seconds
    # It may have said that it is ready, and nobody has read it while no job came.
    return is_late and trainer.device is None and not trainer.has_spoken()
