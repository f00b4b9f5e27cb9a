"""What tests of the command line share: the real API on loopback, and a run of one command."""

from collections.abc import Callable

import pytest

from ddcal.cli.main import main
from tests.api.serving import Api
from tests.ddcal.conftest import api, keyed_api, url_of

__all__ = ["api", "keyed_api"]


@pytest.fixture
def run(api: Api, monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """Runs `ddcal` with these words against the service; gives its exit status."""
    monkeypatch.setenv("DDCAL_URL", url_of(api))
    return lambda *words: main([str(word) for word in words])
