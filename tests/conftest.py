"""Fixtures for all tests: real databases, a real broker, and no way out to the network."""

import itertools
import os
import shutil
import socket
import sys
from collections import Counter
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest

from app.shared.settings import Settings
from app.shared.store.database import migrate
from tests.servers import fresh_postgres_database, running_postgres, temporary_broker
from tests.tiers import MARKERS, ProgramWatch, is_to_run, markers_for
from tests.umask_watch import UmaskWatch

_database_numbers = itertools.count()
_LOOPBACK = ("127.", "::1", "localhost")


def _refuse_network(event: str, arguments: tuple[object, ...]) -> None:
    """An audit hook: a test that reaches for anything but loopback or a unix socket fails."""
    if event in ("socket.connect", "socket.sendto"):
        _, address = arguments
        if isinstance(address, tuple) and not str(address[0]).startswith(_LOOPBACK):
            raise PermissionError(f"tests have no network: {event} to {address} refused")
    elif event == "socket.getaddrinfo":
        host = arguments[0]
        if host is not None and not str(host).startswith((*_LOOPBACK, socket.gethostname())):
            raise PermissionError(f"tests have no network: look-up of {host} refused")


def pytest_configure(config: pytest.Config) -> None:
    """Close the network, keep the caller's settings out of the tests, take one thread.

    Tensors are tiny, and threads that wait for each other on shared cores cost more than they do.
    """
    for name, meaning in MARKERS.items():
        config.addinivalue_line("markers", f"{name}: {meaning}")
    config.pluginmanager.register(ProgramWatch(), "program-watch")
    config.pluginmanager.register(UmaskWatch(), "umask-watch")
    sys.addaudithook(_refuse_network)
    os.environ["OMP_NUM_THREADS"] = "1"
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    for name in [name for name in os.environ if name.startswith("DDCAL_")]:
        del os.environ[name]


def _add_markers(item: pytest.Item) -> None:
    callspec = getattr(item, "callspec", None)
    parameters = [] if callspec is None else [*callspec.params.values()]
    words = [value for value in parameters if isinstance(value, str)]
    places = (item.path.parent.name, item.path.stem)
    for name in sorted(markers_for(places, getattr(item, "fixturenames", ()), words)):
        item.add_marker(name)


def _deselect(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what does not run here; it is not skipped, as nobody has asked for it."""
    asked_for = str(config.getoption("markexpr"))
    left_out = [
        item
        for item in items
        if not is_to_run({marker.name for marker in item.iter_markers()}, asked_for)
    ]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Name bytes and long text by their argument.

    Processes compare what they collect, and a zip made at import holds its time.
    """
    is_long = isinstance(val, str) and len(val) > 200
    return argname if is_long or isinstance(val, bytes) else None


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark what each test needs; in several processes each file is one's, whole runs come first.

    So `-m` can choose, nothing that tests share is started twice, and no process ends with the
    longest alone: `python -m pytest -n 2 --dist loadgroup --no-loadscope-reorder`.
    """
    for item in items:
        _add_markers(item)
    _deselect(config, items)
    if not getattr(config.option, "loadgroup", False):  # what xdist tells its processes
        return
    items.sort(key=lambda item: item.path.parent.name not in ("e2e", "chaos"))
    for item in items:
        is_on_service = "service" in getattr(item, "fixturenames", ())
        group = "service" if is_on_service else f"{item.path.parent.name}-{item.path.stem}"
        item.add_marker(pytest.mark.xdist_group(group))


def pytest_collection_finish(session: pytest.Session) -> None:
    """Fail where pytest-xdist was to keep each file in one process, and has not understood.

    Nothing else would show it: the same tests pass, with each fixture made twice.
    """
    is_grouped = getattr(session.config.option, "loadgroup", False)
    if is_grouped and not all("@" in item.nodeid for item in session.items):
        raise pytest.UsageError("pytest-xdist does not group tests with this pytest")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Note on each report which real servers its test ran on."""
    report = yield
    servers = {marker.name for marker in item.iter_markers() if marker.name in MARKERS}
    report.user_properties += [("server", name) for name in sorted(servers)]
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say how many tests ran on real servers, so that a run without them cannot go unseen."""
    passed = terminalreporter.getreports("passed")
    counts = Counter(name for report in passed for _, name in report.user_properties)
    names = {"postgresql": "PostgreSQL", "broker": "broker", "trainer": "trainer"}
    on = ", ".join(f"{counts[name]} on a real {words}" for name, words in names.items())
    skipped = len(terminalreporter.getreports("skipped"))
    terminalreporter.write_line(f"{on}, {skipped} skipped")


@pytest.fixture(scope="session")
def broker_url() -> Iterator[str]:
    """URL of a real Redis-compatible server for the whole session, as Celery reads it."""
    with temporary_broker() as url:
        yield url


@pytest.fixture(scope="session")
def postgres_folder() -> Iterator[str]:
    """Socket folder of a real PostgreSQL server for the whole session."""
    with running_postgres() as folder:
        yield folder


@pytest.fixture
def postgres_url(postgres_folder: str) -> Iterator[str]:
    """SQLAlchemy URL of a fresh, empty database on a real PostgreSQL."""
    with fresh_postgres_database(postgres_folder, f"test_{next(_database_numbers)}") as url:
        yield url


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """SQLAlchemy URL of a fresh, empty database: every test that asks runs on both kinds."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'ddcal.sqlite'}"
    url: str = request.getfixturevalue("postgres_url")
    return url


@pytest.fixture(scope="session")
def migrated_sqlite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SQLite file with all migrations applied, to be copied."""
    path = tmp_path_factory.mktemp("template") / "migrated.sqlite"
    migrate(Settings(data_folder=path.parent, database_url=f"sqlite:///{path}"))
    return path


@pytest.fixture(scope="session")
def migrated_postgres(
    postgres_folder: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """Name of a PostgreSQL database with all migrations applied, to be copied."""
    name = "migrated"
    with fresh_postgres_database(postgres_folder, name) as url:
        migrate(Settings(data_folder=tmp_path_factory.mktemp("template"), database_url=url))
        yield name


@pytest.fixture(params=["sqlite", "postgresql"])
def migrated_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """SQLAlchemy URL of a fresh database at head: a copy, far quicker than migrating."""
    if request.param == "sqlite":
        path = tmp_path / "ddcal.sqlite"
        shutil.copyfile(request.getfixturevalue("migrated_sqlite"), path)
        yield f"sqlite:///{path}"
        return
    template = request.getfixturevalue("migrated_postgres")
    folder = request.getfixturevalue("postgres_folder")
    name = f"test_{next(_database_numbers)}"
    with fresh_postgres_database(folder, name, template=template) as url:
        yield url
