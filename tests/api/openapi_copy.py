"""The stored copy of the API's document: `python -m tests.api.openapi_copy` writes it anew."""

import json
from pathlib import Path
from typing import Any

from app.main import create_app
from app.shared.settings import Settings

COPY = Path(__file__).parents[2] / "docs" / "openapi.json"


def document() -> dict[str, Any]:
    """The document as a service with a key serves it."""
    return create_app(Settings(api_key="k" * 32)).openapi()


def as_text(described: dict[str, Any]) -> str:
    """The document as it is stored: line by line, so that a change shows where it is."""
    return json.dumps(described, indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    COPY.write_text(as_text(document()), encoding="utf-8")
