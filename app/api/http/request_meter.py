"""Counts of the requests that this process has answered, and how long it took to begin to."""

from bisect import bisect_left
from collections import Counter

BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
NO_ROUTE = "none"


class RequestMeter:
    """Counts by the template of the route; used by the event loop's thread alone.

    Attributes:
        answers: how many, by (route, method, status).
        times: how many took how long, by (route, method): for each bucket, and above the last.
        seconds: in all, by (route, method).
    """

    def __init__(self) -> None:
        self.answers: Counter[tuple[str, str, int]] = Counter()
        self.times: dict[tuple[str, str], list[int]] = {}
        self.seconds: Counter[tuple[str, str]] = Counter()

    def count(self, route: str, method: str, status: int, seconds: float) -> None:
        """Take down one request."""
        known = (route, method if method in METHODS else "other")
        self.answers[*known, status] += 1
        times = self.times.setdefault(known, [0] * (len(BUCKETS) + 1))
        times[bisect_left(BUCKETS, seconds)] += 1
        self.seconds[known] += seconds  # type: ignore[assignment]  # a Counter adds floats as well
