"""Which service is meant, and that its key goes to nobody else."""

import json
from contextlib import contextmanager

import httpx
import pytest

from app.embedded.local_service import hold, keep_key
from app.shared.settings import PREFIX, Settings
from ddcal.cli.main import main
from ddcal.client import Client
from ddcal.errors import ServiceError
from ddcal.finding import DEFAULT_URL, misspelt, service_key, service_url
from ddcal.local_service import ADDRESS_FILE, KEY_FILE, kept_key, running_address
from tests.stand_in import Answered, stand_in

KEY = "a-key-from-the-environment"
URL = "http://127.0.0.1:8123"


@pytest.fixture
def folder(tmp_path):
    """The data folder of a service that is up, with the key that it has made."""
    with hold(tmp_path):
        keep_key(tmp_path)
        (tmp_path / ADDRESS_FILE).write_text(URL)
        yield tmp_path


def test_a_running_service_needs_nothing_said(folder):
    """Address and key come from its data folder."""
    environment = {"DDCAL_DATA_FOLDER": str(folder)}
    assert service_url(environment) == URL
    assert service_key(URL, environment) == kept_key(folder)


def test_the_default_folder_is_that_of_serve(tmp_path, monkeypatch):
    """ddcal-data below the present folder."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "ddcal-data").mkdir()
    with hold(tmp_path / "ddcal-data"):
        keep_key(tmp_path / "ddcal-data")
        (tmp_path / "ddcal-data" / ADDRESS_FILE).write_text(URL)
        assert service_url({}) == URL
        assert service_key(URL, {}) == kept_key(tmp_path / "ddcal-data")


def test_without_a_service_it_is_the_default(tmp_path):
    """No folder, an empty one, or no variable that says anything."""
    for path in (tmp_path, tmp_path / "none"):
        environment = {"DDCAL_DATA_FOLDER": str(path), "DDCAL_URL": "", "DDCAL_API_KEY": ""}
        assert service_url(environment) == DEFAULT_URL
        assert service_key(DEFAULT_URL, environment) is None


def test_what_a_killed_service_has_left_is_not_believed(folder, tmp_path_factory):
    """Somebody else may listen on its port by now."""
    left = tmp_path_factory.mktemp("left")
    for name in (ADDRESS_FILE, KEY_FILE):
        (left / name).write_text((folder / name).read_text())
    (left / "serve.lock").touch()
    assert running_address(folder) == URL
    assert running_address(left) is None
    assert service_key(URL, {"DDCAL_DATA_FOLDER": str(left)}) is None


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:8124",
        "http://127.0.0.1",
        "https://127.0.0.1:8123",
        "http://localhost:8123",
        "http://127.0.0.1:8123@evil.example",
        "http://127.0.0.1:8123.evil.example:80",
    ],
)
def test_the_kept_key_goes_to_its_service_alone(folder, url):
    """Another port, scheme or name is another service."""
    environment = {"DDCAL_DATA_FOLDER": str(folder)}
    try:
        assert service_key(url, environment) is None
    except httpx.InvalidURL:
        assert "evil" in url


def test_the_variable_belongs_to_the_address_beside_it(folder):
    """DDCAL_API_KEY goes to DDCAL_URL where that is set, else to whichever service is named."""
    both = {"DDCAL_URL": "https://there.example", "DDCAL_API_KEY": KEY}
    assert service_url(both) == "https://there.example"
    assert service_key("https://there.example/", both) == KEY
    assert service_key("https://there.example:443", both) == KEY
    assert service_key("http://there.example", both) is None
    assert service_key("https://elsewhere.example", both) is None
    here = {**both, "DDCAL_DATA_FOLDER": str(folder)}
    assert service_key(URL, here) == kept_key(folder)
    assert service_key("https://elsewhere.example", {"DDCAL_API_KEY": KEY}) == KEY


@contextmanager
def listener(location=None):
    """Somebody on a port of this machine; gives its URL and the keys that it was shown."""
    keys = []

    def answer(asked):
        keys.append(asked.key)
        if location is None:
            return Answered(200, b"{}")
        return Answered(307, b"{}", (("Location", location + asked.path),))

    with stand_in(answer) as port:
        yield f"http://127.0.0.1:{port}", keys


def test_a_redirect_takes_the_key_nowhere(monkeypatch):
    """The service that was named gets it; where that points does not even see a request."""
    monkeypatch.setenv("DDCAL_API_KEY", KEY)
    with listener() as (elsewhere, seen), listener(elsewhere) as (url, keys):
        with Client(url) as client, pytest.raises(ServiceError, match="answered 307"):
            client.get("/v1/jobs")
        assert keys == [f"Bearer {KEY}"]
        assert seen == []


def test_scripts_find_the_service_as_the_command_line_does(folder, monkeypatch):
    """Client() without anything, and with a key given by hand."""
    monkeypatch.setenv("DDCAL_DATA_FOLDER", str(folder))
    with Client() as client:
        assert client.url == URL
    with listener() as (url, keys):
        (folder / ADDRESS_FILE).write_text(url)
        for given in ({}, {"api_key": "by hand"}, {"url": url.replace("127.0.0.1", "localhost")}):
            with Client(**given) as client:
                client.get("/v1/jobs")
        assert keys == [f"Bearer {kept_key(folder)}", "Bearer by hand", None]


def test_key_prints_the_key(folder, monkeypatch, capsys):
    """Alone on its line, for curl; with the variable that one."""
    assert main(["key", "--data-folder", str(folder)]) == 0
    assert capsys.readouterr().out == f"{kept_key(folder)}\n"
    monkeypatch.setenv("DDCAL_DATA_FOLDER", str(folder))
    assert main(["key"]) == 0
    assert capsys.readouterr().out == f"{kept_key(folder)}\n"
    monkeypatch.setenv("DDCAL_API_KEY", KEY)
    assert main(["key"]) == 0
    assert capsys.readouterr().out == f"{KEY}\n"
    assert main(["key", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"key": KEY}


def test_key_of_a_folder_without_one(tmp_path, capsys):
    """Where it looked, and what to do; nothing on stdout that curl would send."""
    assert main(["key", "--data-folder", str(tmp_path)]) == 1
    told = capsys.readouterr()
    assert told.out == ""
    assert f"no key in {tmp_path}" in told.err
    assert "--data-folder" in told.err


def test_no_setting_of_the_service_is_taken_for_a_misspelt_one():
    """However alike their names are; what is misspelt is told with what was meant."""
    names = [f"{PREFIX}{name.upper()}" for name in Settings.model_fields]
    assert misspelt(dict.fromkeys([*names, "DDCAL_URL", "HOME"], "x")) == []
    for name, meant in (
        ("DDCAL_APIKEY", "DDCAL_API_KEY"),
        ("DDCAL_API_KEYS", "DDCAL_API_KEY"),
        ("ddcal_url", "DDCAL_URL"),
        ("DDCAL_DATAFOLDER", "DDCAL_DATA_FOLDER"),
    ):
        assert misspelt({name: "x"}) == [f"{name} is not read; did you mean {meant}?"]


def test_a_folder_is_held_by_one_and_looked_at_by_many(folder):
    """Looking takes nothing from the holder; a second holder is refused."""
    for _ in range(3):
        assert running_address(folder) == URL
    with pytest.raises(BlockingIOError), hold(folder):
        pass


def test_a_kept_key_is_made_once_and_private(tmp_path):
    """The same ever after, 43 characters of which nobody but its user may read one."""
    key = keep_key(tmp_path)
    assert keep_key(tmp_path) == kept_key(tmp_path) == key
    assert len(key) == 43
    assert (tmp_path / KEY_FILE).stat().st_mode & 0o777 == 0o600
    assert [path.name for path in tmp_path.iterdir()] == [KEY_FILE]
