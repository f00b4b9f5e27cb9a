"""Files of a multipart/form-data body streamed to disk: one as it is, several as a zip of them."""

import zipfile
from collections.abc import Callable
from typing import IO, cast

from fastapi import Request
from fastapi.concurrency import run_in_threadpool
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from app.api.http.uploads import Sink, Upload, pieces_of, write_to
from app.shared.errors import InvalidRequestError, MalformedRequestError
from app.shared.settings import Settings
from app.submission.pointers import brief

MEDIA_TYPE = "multipart/form-data"
MAX_FILES = 1_000

_MAX_BOUNDARY_BYTES = 70
_READ_BYTES = 1 << 20
# Names that say when a file was sent would make other bytes of the same files.
_NO_TIME = (1980, 1, 1, 0, 0, 0)
_PLAIN = (b"", b"7bit", b"8bit", b"binary")


def boundary_of(request: Request) -> bytes | None:
    """What parts of a multipart body are told apart by; None of any other body.

    Raises:
        MalformedRequestError: a multipart body does not say.
    """
    media_type, options = parse_options_header(request.headers.get("content-type", ""))
    if media_type.decode("latin1").lower() != MEDIA_TYPE:
        return None
    boundary = options.get(b"boundary", b"")
    if not 1 <= len(boundary) <= _MAX_BOUNDARY_BYTES:
        raise MalformedRequestError(
            "malformed_multipart", f"{MEDIA_TYPE} needs a boundary of 1 to 70 characters"
        )
    return boundary


async def receive_files(request: Request, settings: Settings, boundary: bytes) -> Upload:
    """Stream the files of a body to disk; one file, or a zip that holds several by their names.

    Args:
        request: whose body is still unread.
        settings: as `receive_upload` takes them.
        boundary: between parts.

    Raises:
        MalformedRequestError: it is no whole multipart body.
        InvalidRequestError: there is no file, a part that is none, or a name twice.
        TooLargeError, DiskFullError, OSError, ClientDisconnect: as `receive_upload`. In every case
            of failure all files are gone.
    """
    files = _Files(settings, boundary)
    try:
        async for piece in pieces_of(request, settings):
            await run_in_threadpool(files.take, piece)
        return await run_in_threadpool(files.finish)
    # A cancelled request as well, which is no Exception.
    except BaseException:
        files.discard()
        raise


class _Files:
    """The parts of a body, each a file on disk."""

    def __init__(self, settings: Settings, boundary: bytes) -> None:
        self._settings = settings
        self._sinks: list[tuple[str, Sink]] = []
        self._headers: dict[bytes, bytes] = {}
        self._header: list[bytes] = [b"", b""]
        self._is_whole = False
        self._parser = MultipartParser(
            boundary,
            {
                "on_part_begin": self._headers.clear,
                "on_header_field": self._keeping(0),
                "on_header_value": self._keeping(1),
                "on_header_end": self._keep_header,
                "on_headers_finished": self._open,
                "on_part_data": self._write,
                "on_end": self._end,
            },
        )

    def take(self, piece: bytes) -> None:
        """Take up some bytes of the body."""
        try:
            self._parser.write(piece)
        except FormParserError as error:
            raise _malformed(str(error)) from error

    def finish(self) -> Upload:
        """The one file, or a zip of all."""
        if not self._is_whole:
            raise _malformed("it ends early")
        if not self._sinks:
            raise _refused("no_file", "wanted a file; got none")
        if len(self._sinks) == 1:
            ((_, sink),) = self._sinks
            return sink.finish()
        sink = self._zipped()
        try:
            return sink.finish()
        finally:
            self.discard()

    def discard(self) -> None:
        """Delete all that has come."""
        for _, sink in self._sinks:
            sink.discard()

    def _zipped(self) -> Sink:
        zipped = Sink(self._settings.upload_folder)
        try:
            stream = cast("IO[bytes]", _Written(zipped, self._settings))
            with zipfile.ZipFile(stream, "w") as archive:
                for name, sink in self._sinks:
                    sink.flush()
                    member = zipfile.ZipInfo(name, _NO_TIME)
                    member.file_size = sink.n_bytes
                    with sink.path.open("rb") as file, archive.open(member, "w") as copy:
                        while piece := file.read(_READ_BYTES):
                            copy.write(piece)
        except BaseException:
            zipped.discard()
            raise
        return zipped

    def _keeping(self, place: int) -> Callable[[bytes, int, int], None]:
        def keep(data: bytes, start: int, end: int) -> None:
            self._header[place] += data[start:end]

        return keep

    def _keep_header(self) -> None:
        name, value = self._header
        self._headers[name.lower()] = value
        self._header = [b"", b""]

    def _open(self) -> None:
        """Begin a file; its name is the last part of a path that a browser may send."""
        _, options = parse_options_header(self._headers.get(b"content-disposition", b""))
        if b"filename" not in options:
            field = brief(options.get(b"name", b"").decode("utf-8", "replace"))
            raise _refused(
                "not_a_file", f"wanted files alone; got the field {field} (say it in the query)"
            )
        if self._headers.get(b"content-transfer-encoding", b"").strip().lower() not in _PLAIN:
            raise _refused("encoded_file", "wanted files as they are; got one that is encoded")
        try:
            name = options[b"filename"].decode("utf-8")
        except UnicodeDecodeError:
            raise _refused("bad_file_name", "wanted names of files in UTF-8") from None
        if not name or name in (known for known, _ in self._sinks):
            raise _refused(
                "bad_file_name", f"wanted each file under a name of its own; got {brief(name)}"
            )
        if len(self._sinks) == MAX_FILES:
            raise _refused(
                "too_many_files", f"wanted at most {MAX_FILES:,} files: send a zip of them"
            )
        self._sinks.append((name, Sink(self._settings.upload_folder)))

    def _write(self, data: bytes, start: int, end: int) -> None:
        write_to(self._sinks[-1][1], data[start:end], self._settings)

    def _end(self) -> None:
        self._is_whole = True


class _Written:
    """What a zip is written to: it is told at once that there is no going back."""

    def __init__(self, sink: Sink, settings: Settings) -> None:
        self._sink, self._settings = sink, settings

    def write(self, data: bytes) -> int:
        write_to(self._sink, data, self._settings)
        return len(data)

    def flush(self) -> None:
        """Nothing: the sink is flushed when it is finished."""


def _malformed(why: str) -> MalformedRequestError:
    return MalformedRequestError("malformed_multipart", f"the body is not {MEDIA_TYPE}: {why}")


def _refused(code: str, detail: str) -> InvalidRequestError:
    return InvalidRequestError(code, detail)
