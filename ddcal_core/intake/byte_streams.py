"""Bytes that come in pieces, read by number."""

from collections.abc import Iterator

from ddcal_core.errors import InvalidDataError


class ByteStream:
    """Reads so many bytes at a time from pieces of any size; holds one piece.

    Args:
        pieces: in order.
    """

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._held = memoryview(b"")

    def read(self, n_bytes: int) -> bytes:
        """The next bytes, as many as asked for.

        Raises:
            InvalidDataError: there are fewer.
        """
        parts, left = [], n_bytes
        for part in self.up_to(left):
            parts.append(part)
            left -= len(part)
        if left:
            raise InvalidDataError(f"wanted {n_bytes:,} bytes; got {n_bytes - left:,}")
        return b"".join(parts)

    def up_to(self, n_bytes: int) -> Iterator[bytes]:
        """The next bytes in pieces, fewer than asked for where there are no more."""
        left = n_bytes
        while left:
            if not self._held:
                piece = next(self._pieces, None)
                if piece is None:
                    return
                self._held = memoryview(piece)
                continue
            part = self._held[:left]
            self._held = self._held[len(part) :]
            left -= len(part)
            yield bytes(part)

    def require_end(self) -> None:
        """Refuse bytes beyond what was read.

        Raises:
            InvalidDataError: there are some.
        """
        if any(self.up_to(1)):
            raise InvalidDataError("wanted no bytes after the data; got some")
