"""The command line: what it prints and how it exits, also when things are not as they should be."""

import json
import os
import subprocess
import sys
import threading

import pytest

from ddcal.cli.completing import complete_jobs
from ddcal.cli.main import app, main
from tests.api.npz import npz
from tests.api.serving import FACTS, SET
from tests.api.test_results import chain
from tests.ddcal.conftest import url_of
from tests.services import COMMAND
from tests.waiting import until

__all__ = ["chain"]  # a fixture, asked for by name

DISTILL = {"kind": "distill", "params": {"dataset": "digits", "distill": {"images_per_class": 1}}}
SECRET = "a-secret-that-nobody-sees"


@pytest.fixture
def request_file(tmp_path):
    """A request to be submitted."""
    path = tmp_path / "job.json"
    path.write_text(json.dumps(DISTILL))
    return path


@pytest.fixture
def nobody():
    """URL of a port that nobody listens on."""
    return "http://127.0.0.1:1"


def test_a_job_from_its_submission_to_its_files(api, run, request_file, tmp_path, capsys):
    """Each command prints what the next one needs."""
    assert run("submit", request_file) == 0
    job_id = capsys.readouterr().out.strip()
    assert run("jobs") == 0
    header, line = capsys.readouterr().out.splitlines()
    columns = ["ID", "STATE", "JOB", "NAME", "CREATED", "TOOK", "DATA", "SET", "TAGS"]
    assert header.split() == columns
    assert line.split()[:3] == [job_id, "queued", "distill"]
    assert line.split()[3].endswith("Z")
    assert line.split()[-1] == "digits"

    assert run("download", job_id) == 3
    told = capsys.readouterr()
    assert (told.out, told.err.count("\n")) == ("", 1)
    assert f"{job_id} is queued: it has not ended yet (ddcal watch {job_id})" in told.err

    api.succeed(api.claim(), ("distilled_set", SET, {"manifest.json": b"{}"}))
    assert run("watch", job_id) == 0
    assert capsys.readouterr().err.splitlines()[-1] == f"{job_id} succeeded"
    assert run("download", job_id, "--out", tmp_path / "out") == 0
    assert capsys.readouterr().out == f"{tmp_path / 'out' / 'manifest.json'}\n"
    assert run("sets") == 0
    set_line = capsys.readouterr().out.splitlines()[1].split()
    assert set_line[1:4] == ["digits", "dm", "10"]
    assert run("show", set_line[0]) == 0
    assert f"job               {job_id}" in capsys.readouterr().out
    assert run("show", job_id) == 0
    assert f"{set_line[0]}  distilled set by dm\n" in capsys.readouterr().out
    assert run("rm", job_id) == 0
    assert run("jobs") == 0
    assert capsys.readouterr().out == ""


def test_a_watched_job_that_reports_says_how_to_read_it(api, chain, run, capsys):
    """Beside its output, of which there is none."""
    job_id = api.client.get(f"/v1/reports/{chain['reports']}").json()["job_id"]
    assert run("watch", job_id) == 0
    told = capsys.readouterr()
    assert told.out == ""
    assert f"ddcal show {job_id}, or in a browser ddcal open {job_id}" in told.err


def test_json_for_programs(api, run, request_file, capsys):
    """On every command that prints data: what the service said, nothing else on stdout."""
    run("submit", request_file, "--json")
    submitted = json.loads(capsys.readouterr().out)
    job_id = submitted["id"]
    for words, is_list in (
        (("jobs",), True),
        (("show", job_id), False),
        (("cancel", job_id), False),
        (("retry", job_id), False),
        (("datasets",), True),
        (("sets",), True),
        (("models",), True),
        (("reports",), True),
        (("show", "digits"), False),
        (("logs", job_id), False),
    ):
        assert run(*words, "--json") == 0, words
        assert isinstance(json.loads(capsys.readouterr().out), list) is is_list, words
    assert submitted == {**api.job(job_id), **submitted}


def test_what_is_said_of_a_job_is_shown_and_finds_it(api, run, request_file, capsys):
    """By the file, by options beside it, which win; by lists, also of what the job has made."""
    own = {"name": "in the file", "tags": {"env": "test", "who": "me"}}
    request_file.write_text(json.dumps({**DISTILL, **own}))
    said = ("--name", "ten a class", "--tag", "env=prod", "--tag", "n=1", "--notes", "for figure 3")
    assert run("submit", request_file, *said) == 0
    job_id = capsys.readouterr().out.strip()
    assert run("submit", request_file) == 0
    other_id = capsys.readouterr().out.strip()
    api.succeed(api.claim(), ("distilled_set", SET, {"manifest.json": b"{}"}))
    found = {
        ("--search", "TEN cla"): [job_id],
        ("--search", "figure"): [job_id],
        ("--search", "in the file"): [other_id],
        ("--tag", "env=prod"): [job_id],
        ("--tag", "env"): [other_id, job_id],
        ("--tag", "who=me", "--tag", "env=test"): [other_id],
        ("--method", "dm", "--ipc", 1, "--mask", 0): [other_id, job_id],
        ("--method", "dc"): [],
        ("--since", "2001-01-01", "--until", "2200-01-01T12:30"): [other_id, job_id],
        ("--since", "2200-01-01"): [],
        ("--until", "2001-01-01"): [],
    }
    for words, ids in found.items():
        assert run("jobs", *words, "--json") == 0
        assert [one["id"] for one in json.loads(capsys.readouterr().out)] == ids, words
    assert run("jobs") == 0
    assert "  ten a class  " in capsys.readouterr().out
    assert run("show", job_id) == 0
    shown = capsys.readouterr().out
    assert "\ntags      env=prod n=1 who=me\nnotes     for figure 3\n" in shown
    assert run("sets", "--tag", "env=prod", "--search", "ten", "--ipc", 10) == 0
    (line,) = capsys.readouterr().out.splitlines()[1:]
    assert "  ten a class  " in line
    assert line.endswith("  env=prod n=1 who=me")
    assert run("sets", "--tag", "env=test") == 0
    assert capsys.readouterr() == ("", "none there\n")


def test_what_is_said_can_be_changed(api, run, request_file, tmp_path, capsys):
    """Of a job, a result and an upload; what is left out stays."""
    run("submit", request_file, "--name", "first", "--tag", "env=test", "--tag", "n=1")
    job_id = capsys.readouterr().out.strip()
    (set_id,) = api.succeed(api.claim(), ("distilled_set", SET, {"manifest.json": b"{}"}))
    (tmp_path / "mine.npz").write_bytes(npz())
    run("upload", "mine", tmp_path / "mine.npz", "--notes", "two classes")
    capsys.readouterr()
    assert run("edit", job_id, "--tag", "env=prod", "--untag", "n", "--notes", "for figure 3") == 0
    assert capsys.readouterr().out == "name   first\ntags   env=prod\nnotes  for figure 3\n"
    assert run("edit", set_id, "--name", "", "--json") == 0
    changed = json.loads(capsys.readouterr().out)
    assert (changed["name"], changed["tags"]) == (None, {"env": "test", "n": "1"})
    assert run("edit", "mine", "--notes", "", "--tag", "a=b") == 0
    assert capsys.readouterr().out == "name  mine\ntags  a=b\n"
    assert run("edit", "mine", "--name", "yours") == 1
    assert "/name" in capsys.readouterr().err
    assert run("edit", job_id) == 2
    assert "nothing to change" in capsys.readouterr().err


def test_a_list_says_that_there_is_more(run, request_file, capsys):
    """Beside the list, as programs read that."""
    for _ in range(3):
        run("submit", request_file)
    capsys.readouterr()
    for limit, n in ((2, 2), (3, 3), (0, 3)):
        assert run("jobs", "--limit", limit) == 0
        told = capsys.readouterr()
        assert len(told.out.splitlines()) == n + 1
        assert ("there are more" in told.err) is (limit == 2)


@pytest.mark.parametrize("command", ["upload", "upload-set", "upload-model"])
def test_a_name_given_as_an_option_is_told_where_it_stands(nobody, capsys, monkeypatch, command):
    """Not some option that is spelled alike."""
    monkeypatch.setenv("COLUMNS", "200")
    assert main(["--url", nobody, command, "--name", "x", "file.npz"]) == 2
    told = capsys.readouterr().err
    assert "--notes" not in told
    assert "No such option: --name; the name stands without it: " in told
    assert f" {command} NAME FILE" in told


@pytest.mark.parametrize("tag", ["env", "env=", "=prod", "env:prod"])
def test_a_tag_is_a_key_with_a_value(nobody, request_file, capsys, tag):
    """Refused before anything is sent."""
    assert main(["--url", nobody, "submit", str(request_file), "--tag", tag]) == 2
    assert "wanted KEY=VALUE, such as env=prod" in capsys.readouterr().err


def test_a_field_given_twice_is_not_lost_beside_options(nobody, request_file, capsys):
    """To read the file is to choose between them."""
    request_file.write_text('{"kind": "distill", "kind": "train"}')
    assert main(["--url", nobody, "submit", str(request_file), "--name", "it"]) == 1
    assert "'kind' is given twice" in capsys.readouterr().err


def test_results_are_sorted_and_bounded(api, run, capsys):
    """By what was measured, as the service does it, the best first."""
    measured = ("--dataset", "digits", "--min-accuracy", "0.5", "--sort", "accuracy")
    for words in (measured, (*measured[:-1], "ece"), ("--max-ece", "0.1")):
        for command in ("models", "reports"):
            assert run(command, *words) == 0, capsys.readouterr().err
    assert run("sets", *measured, "--method", "dm") == 0
    assert run("sets", "--sort", "ece") == 2


def test_a_failed_job_fails_the_watch(api, run, request_file, capsys):
    """With its error, told once."""
    run("submit", request_file)
    job_id = capsys.readouterr().out.strip()
    api.fail(api.claim())
    assert run("watch", job_id) == 1
    assert capsys.readouterr().err.splitlines()[-2:] == [
        f"{job_id} failed",
        "  distill: nan_loss: loss",
    ]
    assert run("download", job_id) == 1
    assert run("open", job_id) == 1


def test_what_is_not_there(run, capsys):
    """In the service's words, without a trace."""
    job_id = "job_" + "0" * 26
    assert run("watch", job_id) == 1
    assert capsys.readouterr().err == f"ddcal: there is no job {job_id}\n"
    for command in ("show", "rm"):
        assert run(command, "nothing") == 1
        told = capsys.readouterr().err
        assert told == "ddcal: there is no job, result, data set or upload 'nothing'\n"


def test_a_refusal_names_the_field(run, request_file, capsys):
    """With its pointer."""
    request_file.write_text(json.dumps({**DISTILL, "priority": 1000}))
    assert run("submit", request_file) == 1
    told = capsys.readouterr().err
    assert told.startswith("ddcal: /priority: wanted ")
    assert told.count("\n") == 1


def test_a_refusal_names_the_option(run, tmp_path, capsys):
    """Where it is what the field of a query was given by."""
    (tmp_path / "mine.npz").write_bytes(npz())
    assert run("upload", "mine", tmp_path / "mine.npz", "--resize", 8) == 1
    assert capsys.readouterr().err.startswith("ddcal: --resize: wanted none, as the arrays")
    assert run("jobs", "--mask", 1) == 1
    assert capsys.readouterr().err.startswith("ddcal: --mask: wanted less than 1")


@pytest.mark.parametrize("content", ['{"kind": }', "\xff", "[" * 100_000])
def test_file_that_is_no_json(nobody, request_file, capsys, content):
    """The place of the mistake is named, and nothing is sent."""
    request_file.write_bytes(content.encode("latin-1"))
    assert main(["--url", nobody, "submit", str(request_file)]) == 1
    assert "is not JSON" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b'{"kind": "distill", "kind": "train"}', "kind"),
        (b'{"lr": NaN}', "/lr"),
        (b'{"name": "\\ud800"}', "/name"),
    ],
)
def test_a_submission_goes_as_it_is(run, request_file, capsys, content, code):
    """What a reader would let pass, or trip over, is for the service to refuse."""
    request_file.write_bytes(content)
    assert run("submit", request_file) == 1
    assert code in capsys.readouterr().err


def test_file_that_is_not_there(run, tmp_path, capsys):
    """A missing file is named."""
    assert run("submit", tmp_path / "none.json") == 1
    told = capsys.readouterr().err
    assert told == f"ddcal: {tmp_path / 'none.json'}: No such file or directory\n"
    assert run("upload", "mine", tmp_path / "none.npz") == 1
    assert "none.npz" in capsys.readouterr().err
    assert run("distil", tmp_path / "none.npz") == 1
    assert "none.npz" in capsys.readouterr().err


def test_an_upload_is_watched_and_listed(api, run, tmp_path, capsys):
    """Name and state; the list has its classes."""
    (tmp_path / "mine.npz").write_bytes(npz())
    said = ("--tag", "env=prod", "--notes", "two classes")
    assert run("upload", "mine", tmp_path / "mine.npz", *said) == 0
    assert capsys.readouterr().out == "mine checking\n"
    api.check_upload()
    assert run("datasets") == 0
    (line,) = [one for one in capsys.readouterr().out.splitlines() if one.startswith("mine")]
    assert line.split()[1:3] == ["ready", "2"]
    for words in (("--tag", "env=prod"), ("--search", "classes")):
        assert run("datasets", *words) == 0
        (found,) = capsys.readouterr().out.splitlines()[1:]
        assert found.split() == line.split()
    assert run("show", "mine") == 0
    shown = capsys.readouterr().out
    assert "\ntags                env=prod\nnotes               two classes\n" in shown
    assert run("rm", "mine") == 0
    assert run("show", "mine") == 1


def test_a_watched_upload_tells_how_it_was_read(api, run, tmp_path, capsys):
    """On stderr, beside name and state."""
    (tmp_path / "mine.npz").write_bytes(npz())

    def check():
        until(lambda: api.client.get("/v1/datasets/mine").status_code == 200)
        api.check_upload(facts=FACTS | {"recognised": ["By folders."], "notes": ["Odd."]})

    checking = threading.Thread(target=check)
    checking.start()
    status = run("upload", "mine", tmp_path / "mine.npz", "--watch")
    checking.join()
    told = capsys.readouterr()
    assert (status, told.out) == (0, "mine ready\n")
    assert "By folders.\nOdd.\n" in told.err


def test_a_rejected_upload_says_why(api, run, tmp_path, capsys):
    """Exit 1."""
    (tmp_path / "mine.npz").write_bytes(npz())
    run("upload", "mine", tmp_path / "mine.npz")
    api.check_upload(problem={"code": "not_finite", "detail": "x_train: wanted finite numbers"})
    assert run("show", "mine") == 0
    shown = capsys.readouterr().out
    assert "rejected" in shown
    assert "wanted finite numbers" in shown


@pytest.mark.long
def test_service_that_is_not_there(nobody, capsys):
    """The address and what to do are named, once, and the exit status is 1."""
    assert main(["--url", nobody, "cancel", "job_1"]) == 1
    told = capsys.readouterr().err
    assert told.count("\n") == 1
    assert f"no answer from {nobody}: Connection refused. Is" in told
    assert "ddcal serve" in told


def test_a_url_that_cannot_be_read(capsys):
    """In words."""
    assert main(["--url", "http://127.0.0.1:port", "jobs"]) == 1
    assert "http://127.0.0.1:port" in capsys.readouterr().err


@pytest.mark.long
def test_a_variable_that_is_nearly_one_of_ours_is_told(nobody, monkeypatch, capsys):
    """With the one meant; it stops nothing."""
    monkeypatch.setenv("DDCAL_APIKEY", SECRET)
    main(["--url", nobody, "jobs"])
    first = capsys.readouterr().err.splitlines()[0]
    assert first == "ddcal: warning: DDCAL_APIKEY is not read; did you mean DDCAL_API_KEY?"


@pytest.mark.parametrize(
    "argv", [["unknown"], ["submit"], ["serve", "--port", "x"], ["jobs", "-x"]]
)
def test_wrong_usage(argv, capsys):
    """Exit 2 and how it is used, as everywhere."""
    assert main(argv) == 2
    assert "Usage: ddcal" in capsys.readouterr().err


def test_a_command_that_is_nearly_one_is_told(capsys):
    """With the one meant."""
    assert main(["job"]) == 2
    assert "Did you mean 'jobs'" in capsys.readouterr().err


def test_help_groups_every_command(monkeypatch, capsys):
    """Each in its panel with a sentence; exit statuses at the end."""
    monkeypatch.setenv("COLUMNS", "80")
    assert main(["--help"]) == 0
    shown = capsys.readouterr().out
    assert len(app.registered_commands) == 30
    for panel in ("Start here", "Jobs", "Data and results", "Run a service"):
        assert f"─ {panel} ─" in shown
    for command in app.registered_commands:
        name = command.name or command.callback.__name__
        assert f"│ {name} " in shown
        assert main([name, "--help"]) == 0
        assert "bool" not in capsys.readouterr().out
    assert "Exit status: 0 done" in shown
    assert max(map(len, shown.splitlines())) <= 80


def test_a_shell_completes_jobs(api, run, request_file, capsys):
    """By their ids, with what they are; nothing where no service answers."""
    run("submit", request_file)
    job_id = capsys.readouterr().out.strip()
    assert complete_jobs("job_") == [(job_id, "distill queued")]
    assert complete_jobs(job_id + "x") == []


def test_without_a_service_a_shell_completes_nothing(nobody, monkeypatch):
    """And does not wait."""
    monkeypatch.setenv("DDCAL_URL", nobody)
    assert complete_jobs("job_") == []


def test_version(capsys):
    """Of the package."""
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("ddcal 0")


def test_who_reads_the_output_may_have_seen_enough(api, request_file):
    """As of any program before `head`: no complaint, and the status of a broken pipe."""
    reader, writer = os.pipe()
    os.close(reader)
    argv = [*COMMAND, "--url", str(api.client.base_url), "datasets"]
    ended = subprocess.run(argv, stdout=writer, stderr=subprocess.PIPE, check=False, timeout=120)
    os.close(writer)
    assert (ended.returncode, ended.stderr) == (141, b"")


@pytest.mark.long
def test_a_file_of_ones_own_is_not_imported(tmp_path, api):
    """A folder may hold an app.py, a worker.py, or whatever else people call theirs."""
    for name in ("app", "worker", "ddcal", "ddcal_core", "celery", "torch", "rich"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('the wrong module')")
    environment = {**os.environ, "DDCAL_DATA_FOLDER": str(tmp_path / "data")}
    for words in (["--url", str(api.client.base_url), "jobs"], ["migrate"], ["check"]):
        ended = subprocess.run(
            [*COMMAND, *words],
            cwd=tmp_path, env=environment, capture_output=True, text=True, check=False, timeout=300,
        )  # fmt: skip
        assert ended.returncode == 0, ended.stderr


def test_what_is_not_installed_is_told_with_its_extra(monkeypatch, capsys):
    """One line with the command that installs it."""
    monkeypatch.setitem(sys.modules, "fastapi", None)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "torch" else 1)
    assert main(["worker"]) == 1
    told = capsys.readouterr().err
    assert told == (
        "ddcal: ddcal worker needs more than is installed: pip install 'ddcal[worker]'\n"
    )
    assert main(["serve"]) == 1
    assert "pip install 'ddcal[embedded]'" in capsys.readouterr().err


def test_an_interrupted_watch_says_that_the_job_goes_on(run, request_file, monkeypatch, capsys):
    """And how to see it again, or to stop it; exit 130."""
    run("submit", request_file)
    job_id = capsys.readouterr().out.strip()

    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("ddcal.progress.ProgressView.show", interrupt)
    assert run("watch", job_id) == 130
    told = capsys.readouterr().err
    assert f"the job goes on. See it: ddcal watch {job_id}" in told
    assert f"ddcal cancel {job_id}" in told


@pytest.mark.long
@pytest.mark.parametrize(
    ("key", "what"), [("", "wants a key"), ("wrong" * 9, "does not take this key")]
)
def test_a_key_is_asked_for_in_words(keyed_api, monkeypatch, capsys, key, what):
    """What to set, once, whether it is missing or wrong."""
    monkeypatch.setenv("DDCAL_API_KEY", key)
    assert main(["--url", url_of(keyed_api), "jobs"]) == 1
    told = capsys.readouterr().err
    assert told.startswith(f"ddcal: the service {what}: set DDCAL_API_KEY")
    assert told.count("\n") == 1
