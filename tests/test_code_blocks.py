"""Every code block of README and docs is what the code knows: commands, addresses, requests.

Whole runs of some of them are in tests/e2e/test_examples.py.
"""

import ast
import itertools
import json
import re
import shlex
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from pydantic import TypeAdapter
from typer import Context
from typer.main import get_command

from app.submission.requests import JOB_REQUESTS
from ddcal.cli.main import app

ROOT = Path(__file__).parents[1]
PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "examples/README.md")),
    *sorted((ROOT / "docs").rglob("*.md")),
]
DOCUMENT = json.loads((ROOT / "docs" / "openapi.json").read_text())
COMMAND = get_command(app)
ID = "0" * 26
# Where a reader puts an id, a request stands for any.
PLACEHOLDER = re.compile(r"\b(job|set|mdl|cal|exp|rep|art)_…")
TARGETS = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.M)


def blocks(page):
    """Language and code of each block."""
    return re.findall(r"^```(\w*)\n(.*?)^```$", page.read_text(), re.M | re.S)


def commands(page):
    """The command lines of a page's blocks without a language, a prompt and a comment cut off."""
    for language, code in blocks(page):
        if not language:
            # Where a block has prompts, all else is what was answered.
            prompt = r"\$ " if re.search(r"^\$ ", code, re.M) else ""
            for line in code.replace("\\\n", " ").splitlines():
                found = re.match(rf"{prompt}((?:ddcal|curl|make) .*)", line)
                if found:
                    yield shlex.split(found[1], comments=True, posix=True)


def unknown_options(words):
    """Those that the command has not; all, where there is no such command."""
    command = COMMAND.get_command(Context(COMMAND), words[1])
    if command is None:
        return words[:2]
    known = {name for one in command.params for name in (*one.opts, *one.secondary_opts)}
    given = [word.partition("=")[0] for word in words[2:] if word.startswith("--")]
    return [one for one in given if one not in {*known, "--help"}]


def address_and_method(words):
    """Of a line of curl; what sends something is a POST."""
    sends = {"-d", "--data-binary", "-F"} & set(words)
    method = words[words.index("-X") + 1] if "-X" in words else "POST" if sends else "GET"
    (url,) = [word for word in words if word.startswith("http://")]
    return urlsplit(url), method.lower()


def unknown_address(words):
    """What in a line of curl the API has not: its path with its method, or a parameter."""
    url, method = address_and_method(words)
    path = url.path.replace("$JOB", "job_…")
    for template, operations in DOCUMENT["paths"].items():
        pattern = re.sub(r"\\\{\w+\\\}", "[^/]+", re.escape(template))
        if re.fullmatch(pattern, path) and method in operations:
            known = {one["name"] for one in operations[method].get("parameters", [])}
            return sorted(set(parse_qs(url.query)) - known)
    return [f"{method} {path}"]


def requests_in(page):
    """The requests of a page: whole blocks, a line each, and what lines of curl send."""
    for language, code in blocks(page):
        if language == "json":
            try:
                yield json.loads(code)
            except ValueError:
                yield from (json.loads(line) for line in code.splitlines())
    for words in commands(page):
        for option, value in itertools.pairwise(words):
            if option == "-d" and value.startswith("{"):
                yield json.loads(value)


def is_refused(request):
    """Why a request of a page is none; nothing where it is one."""
    text = PLACEHOLDER.sub(
        lambda found: f"{found[1]}_{ID}", json.dumps(request, ensure_ascii=False)
    )
    try:
        TypeAdapter(JOB_REQUESTS[request["kind"]]).validate_json(text)
    except ValueError as error:
        return str(error)
    return ""


def named(path):
    """A page's name for people."""
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_commands_and_addresses_are_known(page):
    """Each command with its options, each target of make, each address with its parameters."""
    for words in commands(page):
        match words[0]:
            case "ddcal":
                assert unknown_options(words) == [], words
            case "curl":
                assert unknown_address(words) == [], words
            case "make":
                assert words[1] in TARGETS, words


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_requests_can_be_submitted(page):
    """Each request that a page shows is one."""
    found = [one for one in requests_in(page) if isinstance(one, dict) and "kind" in one]
    assert [is_refused(one) for one in found if is_refused(one)] == []


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_python_is_python(page):
    """Each block parses; what it imports of ours is there."""
    for language, code in blocks(page):
        if language == "python":
            compile(code, named(page), "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)


def test_blocks_are_found():
    """Of every sort, or these tests could not fail."""
    lines = [words for page in PAGES for words in commands(page)]
    assert len([words for words in lines if words[0] == "ddcal"]) > 30
    assert len([words for words in lines if words[0] == "curl"]) > 15
    assert len([one for page in PAGES for one in requests_in(page)]) > 8
    languages = {language for page in PAGES for language, _ in blocks(page)}
    assert languages <= {"", "python", "json"}


def test_what_is_wrong_is_seen(tmp_path):
    """A command, an option, an address, a parameter and a field that are not there."""
    page = tmp_path / "page.md"
    page.write_text(
        "```\nddcal distill x\nddcal distil x --ipcs 3\n"
        'curl -d \'{"kind": "distill"}\' http://127.0.0.1:8000/v1/job\n'
        "curl 'http://127.0.0.1:8000/v1/jobs?stat=failed'   # a comment\n```\n"
        '```json\n{"kind": "distill", "params": {"dataset": "digits", "ipc": 3}}\n```\n'
    )
    distill, option, post, query = commands(page)
    assert unknown_options(distill) == ["ddcal", "distill"]
    assert unknown_options(option) == ["--ipcs"]
    assert unknown_address(post) == ["post /v1/job"]
    assert unknown_address(query) == ["stat"]
    whole, sent = requests_in(page)
    assert "ipc" in is_refused(whole)
    assert is_refused(sent)
