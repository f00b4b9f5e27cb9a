"""The version stands in pyproject.toml; whatever else tells it reads it from the package."""

import re
import tomllib
from importlib import metadata
from pathlib import Path

ROOT = Path(__file__).parents[1]
VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
STATED = re.compile(rf"(?<![\w.]){re.escape(VERSION)}(?![\w.])")
TOLD_TO_USERS = ("Dockerfile", "docker-compose.yml", "CITATION.cff", "README.md", "docs/**/*.md")


def test_the_installed_package_is_of_this_version():
    """Where it is not, the environment is older than pyproject.toml: run make again."""
    assert metadata.version("ddcal") == VERSION


def test_nothing_else_states_it():
    """Neither the code nor what describes the project, the history of changes aside."""
    code = [
        path
        for folder in ("app", "worker", "ddcal_core", "ddcal")
        for path in sorted(ROOT.glob(f"{folder}/**/*.*"))
    ]
    read = [path for path in code if path.suffix in {".py", ".html", ".css", ".js"}]
    described = [path for pattern in TOLD_TO_USERS for path in ROOT.glob(pattern)]
    assert len(read) > 100
    assert len(described) > 5
    stating = [path for path in (*read, *described) if STATED.search(path.read_text())]
    assert stating == []


def test_the_version_has_its_place_among_the_changes():
    """A release is described before it is one."""
    assert re.search(rf"^## \[{re.escape(VERSION)}\]", (ROOT / "CHANGELOG.md").read_text(), re.M)
