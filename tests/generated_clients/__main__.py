"""Clients generated from docs/openapi.json, each run against a service: what .ci/clients does.

Given a folder with what the generators need, whose programs are in PATH; clients are made in it.
"""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.api.openapi_copy import COPY
from tests.services import running_service

HERE = Path(__file__).parent


def run(*command: str | Path, folder: Path) -> None:
    """Run a command to its end; what it says is shown.

    Raises:
        subprocess.CalledProcessError: it has failed.
    """
    subprocess.run(command, cwd=folder, check=True)


def generate_python(folder: Path, programs: Path) -> None:
    """The package ddcal_api in a folder, without a warning; the program that uses it, checked."""
    run(
        *(programs / "openapi-python-client", "generate", "--path", COPY, "--meta", "none"),
        *("--output-path", folder / "ddcal_api", "--overwrite", "--fail-on-warning"),
        *("--config", HERE / "config.yml"),
        folder=folder,
    )
    shutil.copy(HERE / "use_client.py", folder)
    run(sys.executable, "-m", "mypy", "--strict", "--config-file=", "use_client.py", folder=folder)


def generate_typescript(folder: Path) -> None:
    """The types of ddcal_api.d.ts in a folder, checked with the program that uses them."""
    for name in ("use_client.ts", "tsconfig.json"):
        shutil.copy(HERE / name, folder)
    # What has a default may be left out of a request.
    options = ("--default-non-nullable=false", "--output", "ddcal_api.d.ts")
    tools = folder / "node_modules"
    run("node", tools / "openapi-typescript" / "bin" / "cli.js", COPY, *options, folder=folder)
    run("node", tools / "typescript" / "bin" / "tsc", folder=folder)


def main(tools: Path) -> None:
    """Generate both clients and run them.

    Args:
        tools: with an environment of Python in venv/ and packages of npm in typescript/.
    """
    python, typescript = tools / "python", tools / "typescript"
    python.mkdir(exist_ok=True)
    programs = tools / "venv" / "bin"
    generate_python(python, programs)
    generate_typescript(typescript)
    with (
        tempfile.TemporaryDirectory() as folder,
        running_service(Path(folder) / "data", DDCAL_NO_KEY="0") as service,
    ):
        key = (service.folder / "api-key").read_text().strip()
        used = (service.url, key)
        run(programs / "python", "-W", "error", "use_client.py", *used, folder=python)
        run("node", "use_client.ts", *used, folder=typescript)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
