"""Where a command begins and ends: its options, and what is told when something goes wrong.

Exit status: 0 done; 1 failed, refused or not reached; 2 used wrongly, or invalid settings;
3 the job has not ended yet; 130 interrupted; 141 nobody reads the output any more.
"""

import os
import sys
from collections.abc import Mapping
from typing import Annotated, Any

import typer
from pydantic import ValidationError
from typer.core import TyperCommand, TyperGroup

from ddcal.cli.output import complain
from ddcal.client import Client
from ddcal.errors import DdcalError, InvalidRequestError, JobNotDoneError, in_words

FAILED = 1
USED_WRONGLY = 2
NOT_DONE = 3
INTERRUPTED = 130
_NOT_READ = 141  # as of a program that SIGPIPE ends

EXIT_STATUS = (
    "Exit status: 0 done; 1 failed, refused or not reached; 2 used wrongly, or invalid settings; "
    "3 the job has not ended yet; 130 interrupted."
)

_OPTIONS: Mapping[str, str] = {
    "q": "search",
    "job_id": "job",
    "images_per_class": "ipc",
    "mask_ratio": "mask",
    "created_after": "since",
    "created_before": "until",
}
"""A field of a query -> the option that gives it, where it has another name."""

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]


class Command(TyperCommand):
    """One command."""

    def get_params(self, ctx: Any) -> list[Any]:  # noqa: ANN401 -- of Typer's own type, likewise
        """Its options and arguments."""
        return _flags_without_type(super().get_params(ctx))

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:  # noqa: ANN401 -- likewise
        """Read what was typed; --name is told where its name stands, if it is no option."""
        try:
            return super().parse_args(ctx, args)
        except Exception as error:
            # By its field: Typer brings a Click of its own, or not, as its version has it.
            if getattr(error, "option_name", None) == "--name":
                self._tell_where_names_stand(ctx, error)
            raise

    def _tell_where_names_stand(self, ctx: Any, error: Any) -> None:  # noqa: ANN401 -- likewise
        arguments = [param for param in self.params if param.param_type_name == "argument"]
        if any(argument.name == "name" for argument in arguments):
            words = " ".join(str(argument.metavar) for argument in arguments)
            error.message += f"; the name stands without it: {ctx.command_path} {words}"
            error.possibilities = None


class Commands(TyperGroup):
    """All commands; the one place where their errors are told."""

    def get_params(self, ctx: Any) -> list[Any]:  # noqa: ANN401 -- likewise
        """Its options."""
        return _flags_without_type(super().get_params(ctx))

    def invoke(self, ctx: Any) -> Any:  # noqa: ANN401 -- of Typer's own type, which it hides
        """Run the command that was asked for; a status other than 0 is raised as an exit."""
        status = _status_of(lambda: super(Commands, self).invoke(ctx))
        if status:
            raise typer.Exit(status)
        return status


def _flags_without_type(params: list[Any]) -> list[Any]:
    """Parameters of which those that take no value show none in the help."""
    for param in params:
        if getattr(param, "is_flag", False):
            param.metavar = ""
    return params


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
    except InvalidRequestError as error:
        complain(in_words(error.detail, [_by_option(problem) for problem in error.problems]))
        return FAILED
    except typer.BadParameter as error:
        error.message = error.message.removeprefix("Value error, ")
        raise
    except DdcalError as error:
        complain(str(error))
        return FAILED
    except OSError as error:
        complain(f"{error.filename}: {error.strerror}" if error.filename else str(error))
        return FAILED
    except ValidationError as error:
        complain(f"the service answered what this version cannot read: {error}")
        return FAILED
    return status if isinstance(status, int) else 0


def _by_option(problem: Mapping[str, Any]) -> Mapping[str, Any]:
    """A problem with a field of a query, by the option that people gave."""
    _, is_query, field = str(problem.get("pointer")).partition("/query/")
    if not is_query:
        return problem
    name = field.partition("/")[0]
    return {**problem, "pointer": f"--{_OPTIONS.get(name, name).replace('_', '-')}"}


def client_of(context: typer.Context) -> Client:
    """The client of the service that the command is about."""
    # No option for the key: it would stand in the list of processes.
    return Client(context.find_root().params.get("url"))
