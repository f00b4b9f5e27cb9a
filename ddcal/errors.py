"""What can go wrong when a service is used.

DdcalError
├── NoServiceError          it cannot be reached, or its address cannot be read
├── ServiceError            it refused a request; by status:
│   ├── UnauthorizedError     401  no key, or a wrong one
│   ├── NotFoundError         404
│   ├── ConflictError         409
│   └── InvalidRequestError   422  invalid fields, one problem each
├── DamagedDownloadError    a file is not the one that the service announced
├── JobNotDoneError         what was asked for is there once the job has ended
├── JobFailedError          the job ended without success
├── UploadRejectedError     the content of an upload cannot be used
├── WaitTimeoutError        it had not ended in time; a TimeoutError as well
└── MissingExtraError       what this needs is not installed; an ImportError as well
"""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

MAX_PROBLEMS_SHOWN = 10
KEY_HINT = (
    "set DDCAL_API_KEY to the service's key (`ddcal key` prints that of a service on this "
    "machine), or DDCAL_DATA_FOLDER to the data folder of a `ddcal serve`"
)


class DdcalError(Exception):
    """Anything that this package raises on purpose."""


class NoServiceError(DdcalError):
    """The service cannot be reached."""


class ServiceError(DdcalError):
    """The service refused a request.

    Attributes:
        status: of the HTTP answer.
        code: the problem's stable word.
        detail: in the service's words.
        problems: of a request refused for its fields, one entry each (pointer, code, detail).
        request_id: by which the service's log has more.
    """

    def __init__(
        self,
        status: int,
        code: str,
        detail: str,
        problems: Sequence[Mapping[str, Any]] = (),
        request_id: str = "",
    ) -> None:
        super().__init__(in_words(detail, problems))
        self.status = status
        self.code = code
        self.detail = detail
        self.problems = tuple(problems)
        self.request_id = request_id


class UnauthorizedError(ServiceError):
    """The service wants a key and got none, or a wrong one."""

    def __str__(self) -> str:
        """What the service says, and where a key is taken from."""
        what = "does not take this key" if self.code == "api_key_wrong" else "wants a key"
        return f"the service {what}: {KEY_HINT}"


class NotFoundError(ServiceError):
    """There is no such thing."""


class ConflictError(ServiceError):
    """The state of the thing forbids what was asked."""


class InvalidRequestError(ServiceError):
    """The request cannot be carried out."""


class DamagedDownloadError(DdcalError):
    """A file is not the one that the service announced, or that the package came with."""


class JobNotDoneError(DdcalError):
    """The job has not ended yet."""


class JobFailedError(DdcalError):
    """The job ended without success.

    Attributes:
        job_id: of the job.
        state: failed, cancelled or expired.
    """

    def __init__(self, job_id: str, state: str, reasons: Sequence[str]) -> None:
        super().__init__("\n".join([f"{job_id} {state}", *(f"  {reason}" for reason in reasons)]))
        self.job_id = job_id
        self.state = state


class UploadRejectedError(DdcalError):
    """The content of an upload cannot be used."""


class WaitTimeoutError(DdcalError, TimeoutError):
    """What was waited for had not ended in time; it goes on."""


class MissingExtraError(DdcalError, ImportError):
    """What this needs is not installed.

    Attributes:
        extra: the one that brings it.
    """

    SENTENCE: ClassVar[str] = "{what} needs more than is installed: pip install 'ddcal[{extra}]'"

    def __init__(self, what: str, extra: str) -> None:
        super().__init__(self.SENTENCE.format(what=what, extra=extra))
        self.extra = extra


def in_words(detail: str, problems: Sequence[Mapping[str, Any]]) -> str:
    """A refusal as people read it: each field that cannot be on a line of its own."""
    lines = [
        f"{problem.get('pointer') or '(body)'}: {problem.get('detail')}"
        for problem in problems[:MAX_PROBLEMS_SHOWN]
    ]
    if problems and str(problems[0].get("detail")) in detail:
        # The detail tells the first problem, and how many there are.
        if len(problems) == 1:
            return lines[0]
        detail = "the request cannot be carried out:"
    left_out = len(problems) - len(lines)
    more = [f"  and {left_out} more"] if left_out else []
    return "\n".join([detail, *(f"  {line}" for line in lines), *more])
