"""What can go wrong in the service, and the code each error carries to HTTP.

DdcalError
├── InvalidRequestError    422  invalid fields: one Problem each, with a JSON pointer
├── MalformedRequestError  400  a body, header or token that cannot be read
├── UnauthorizedError      401
├── ForbiddenError         403  a change that a page of another site may have made up
├── NotFoundError          404  also for another owner's
├── ConflictError          409  the state forbids it
├── GoneError              410  what the request has made before has been deleted
├── TooLargeError          413
├── UnsupportedTypeError   415
├── UnavailableError       503  the database does not answer
│   └── DamagedDatabaseError 500  it answers that its own file is damaged
├── DiskFullError          507  the disk has too little room left
├── DamagedFileError       500  a stored file is gone or has other bytes
└── FencedOutError              a run that lost its lease tried to write; never reaches HTTP
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Self


@dataclass(frozen=True)
class FieldProblem:
    """One invalid field.

    Attributes:
        pointer: JSON pointer into the request body ("/params/distill/mask/ratio").
        code: a stable word for the kind of problem.
        detail: what was wanted and what was got.
    """

    pointer: str
    code: str
    detail: str


class DdcalError(Exception):
    """Anything the service raises on purpose."""

    status: ClassVar[int] = 500
    title: ClassVar[str] = "Internal error"

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail


class InvalidRequestError(DdcalError):
    """The request can be read, but cannot be carried out."""

    status = 422
    title = "The request cannot be carried out"

    def __init__(self, code: str, detail: str, problems: Sequence[FieldProblem] = ()) -> None:
        super().__init__(code, detail)
        self.problems = tuple(problems)


class MalformedRequestError(DdcalError):
    """The request cannot be read."""

    status = 400
    title = "The request cannot be read"


class UnauthorizedError(DdcalError):
    """No valid API key came with the request."""

    status = 401
    title = "An API key is needed"


class ForbiddenError(DdcalError):
    """A change that may be another site's, not the user's."""

    status = 403
    title = "This change is not allowed"


class NotFoundError(DdcalError):
    """There is no such thing, or it is another owner's."""

    status = 404
    title = "Not found"


class ConflictError(DdcalError):
    """The state of the thing forbids what was asked."""

    status = 409
    title = "The current state forbids this"


class GoneError(DdcalError):
    """The request was carried out before, and what it made is no longer there."""

    status = 410
    title = "Gone"


class TooLargeError(DdcalError):
    """More bytes than the limit."""

    status = 413
    title = "Too large"


class UnsupportedTypeError(DdcalError):
    """A content type the endpoint does not take."""

    status = 415
    title = "Unsupported content type"


class UnavailableError(DdcalError):
    """Something the service needs does not answer."""

    status = 503
    title = "Temporarily unavailable"

    @classmethod
    def of_database(cls, words: str = "the database does not answer; try again") -> Self:
        """The one that says that nothing can be read or written now."""
        return cls("database_unavailable", words)


class DamagedDatabaseError(UnavailableError):
    """The database's own file is damaged: nothing can be relied on, and waiting does not mend it.

    Args:
        words: the database's own.
    """

    status = 500
    title = "The database is damaged"

    def __init__(self, words: str) -> None:
        what_to_do = "stop the service, run `ddcal check`, and put back a copy that is whole"
        super().__init__("database_damaged", f"the database is damaged ({words}): {what_to_do}")
        self.words = words


class DiskFullError(DdcalError):
    """The service's disk has too little room for it."""

    status = 507
    title = "Insufficient storage"


class DamagedFileError(DdcalError):
    """A stored file is missing, or its bytes are not those that were stored."""

    title = "A stored file is damaged"

    def __init__(self, detail: str) -> None:
        super().__init__("file_damaged", detail)


class FencedOutError(DdcalError):
    """This run no longer owns its job: another run or a cancel went past it."""

    title = "The run lost its job"
