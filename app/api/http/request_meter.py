"""Counts the requests that this process has answered, and how long each answer took to begin."""

from prometheus_client import CollectorRegistry, Counter, Histogram, disable_created_metrics

BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
NO_ROUTE = "none"

# Each series would come with a second one, the time it was made, which nobody has asked for.
disable_created_metrics()  # type: ignore[no-untyped-call]


class RequestMeter:
    """Measures requests by the template of their route, never by the path that was sent.

    Args:
        registry: where the two metrics are registered, one registry an application.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self._requests = Counter(
            "ddcal_http_requests",
            "Requests answered by this process.",
            ("route", "method", "status"),
            registry=registry,
        )
        self._seconds = Histogram(
            "ddcal_http_request_seconds",
            "Time until an answer began.",
            ("route", "method"),
            registry=registry,
            buckets=BUCKETS,
        )

    def count(self, route: str, method: str, status: int, seconds: float) -> None:
        """Take down one request.

        Args:
            route: the route's template; `NO_ROUTE` where none matched.
            method: as sent; one that HTTP does not define is counted as `other`.
            status: of the answer.
            seconds: until the answer began.
        """
        known = method if method in METHODS else "other"
        self._requests.labels(route, known, status).inc()
        self._seconds.labels(route, known).observe(seconds)
