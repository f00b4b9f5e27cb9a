"""Pages are tested on the API as it is tested."""

from tests.api.conftest import api, shared_api

__all__ = ["api", "shared_api"]
