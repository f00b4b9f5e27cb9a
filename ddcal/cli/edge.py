"""Where a command begins and ends: its options, and what is told when something goes wrong.

Exit status: 0 done; 1 failed, refused or not reached; 2 used wrongly, or invalid settings;
3 the job has not ended yet; 130 interrupted; 141 nobody reads the output any more.
"""

import os
import sys
from typing import Annotated, Any

import typer
from pydantic import ValidationError
from typer.core import TyperGroup

from ddcal.cli.output import complain
from ddcal.client import Client
from ddcal.errors import DdcalError, JobNotDoneError

FAILED = 1
NOT_DONE = 3
INTERRUPTED = 130
_NOT_READ = 141  # as of a program that SIGPIPE ends

EXIT_STATUS = (
    "Exit status: 0 done; 1 failed, refused or not reached; 2 used wrongly, or invalid settings; "
    "3 the job has not ended yet; 130 interrupted."
)

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]


class Commands(TyperGroup):
    """All commands; the one place where their errors are told."""

    def invoke(self, ctx: Any) -> Any:  # noqa: ANN401 -- of Typer's own type, which it hides
        """Run the command that was asked for; a status other than 0 is raised as an exit."""
        status = _status_of(lambda: super(Commands, self).invoke(ctx))
        if status:
            raise typer.Exit(status)
        return status


def _status_of(run: Any) -> int:  # noqa: ANN401 -- a function of whatever result
    try:
        status = run()
        sys.stdout.flush()
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # Who read the output has seen enough; Python would complain once more at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _NOT_READ
    except JobNotDoneError as error:
        complain(str(error))
        return NOT_DONE
    except (DdcalError, OSError) as error:
        complain(str(error))
        return FAILED
    except ValidationError as error:
        complain(f"the service answered what this version cannot read: {error}")
        return FAILED
    return status if isinstance(status, int) else 0


def client_of(context: typer.Context) -> Client:
    """The client of the service that the command is about."""
    # No option for the key: it would stand in the list of processes.
    return Client(context.find_root().params.get("url"))
