"""What a conversation with the service is made of, apart from who waits for it.

A conversation is written once, as a generator: it yields steps, is sent what came of each, and
returns what it was about. `ddcal.transport` carries steps out, waiting or awaiting.
"""

from collections.abc import Generator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class Ask:
    """Send a request; its answer, read, is sent back, or httpx's error thrown.

    Attributes:
        method: of HTTP.
        path: under the service's URL.
        query: its parameters.
        headers: beside those of every request.
        content: the body, or the file that holds it.
        wait_seconds: how long the service itself may wait before it answers.
    """

    method: str
    path: str
    query: Mapping[str, Any] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    content: bytes | Path | None = None
    wait_seconds: float = 0.0


@dataclass(frozen=True)
class Fetch:
    """Write the body of an answer to a file; the answer and the file's sha256 are sent back.

    Attributes:
        ask: the request.
        file: made anew; left alone where the service refuses.
    """

    ask: Ask
    file: Path


@dataclass(frozen=True)
class Pause:
    """Do nothing for so long."""

    seconds: float


@dataclass(frozen=True)
class Emit:
    """Hand something to whoever iterates over the conversation."""

    item: Any


Step = Ask | Fetch | Pause | Emit
Steps = Generator[Step, Any, T]
"""A conversation that returns a T."""
