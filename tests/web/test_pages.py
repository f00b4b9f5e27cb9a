import hashlib
import html
import re
from pathlib import Path

import pytest

from app.shared.engine import runs
from app.shared.engine.jobs import insert_job
from app.shared.store.job_records import Ending, NewJob
from app.web import documentation
from tests.api.serving import OWNER, problem
from tests.api.test_datasets import upload
from tests.api.test_results import DISTILL, chain

__all__ = ["chain"]  # a fixture, asked for by name


HTML = {"Accept": "text/html,*/*"}
ADDRESSES = re.compile(r'(?:href|src|action)="([^"]+)"')


def test_an_empty_service_says_what_to_do(shared_api):
    """No jobs yet, and how to submit one."""
    for path in ("/", "/jobs"):
        answer = shared_api.client.get(path)
        assert answer.headers["content-type"] == "text/html; charset=utf-8"
        assert "No jobs yet" in answer.text


@pytest.mark.parametrize("path", ["/", "/jobs"])
def test_lists_link_jobs_and_what_they_have_made(api, chain, path):
    """The set by its picture, the report by its numbers, each by its page."""
    text = api.client.get(path).text
    assert f'href="/results/{chain["reports"]}"' in text
    assert f'href="/results/{chain["distilled-sets"]}"' in text


@pytest.mark.parametrize("path", ["/", "/jobs", "/docs", "/nothing"])
def test_pages_load_nothing_from_elsewhere(api, path):
    """Every script, style and picture is the service's own, and is there."""
    api.submit("distill", DISTILL)
    answer = api.client.get(path, headers=HTML)
    assert answer.headers["content-security-policy"].startswith(
        "default-src 'none'; script-src 'self'"
    )
    assert "http:" not in answer.text
    assert "https:" not in answer.text
    assert "<style" not in answer.text or path == "/docs"
    for one in ADDRESSES.findall(answer.text):
        if one.startswith("/static/"):
            assert api.client.get(one).status_code == 200, one


def test_static_files_are_kept_for_ever_under_their_digest(shared_api):
    """And there are no others, wherever the path leads."""
    text = shared_api.client.get("/").text
    (style,) = (one for one in ADDRESSES.findall(text) if "/style.css?" in one)
    answer = shared_api.client.get(style)
    assert answer.headers["content-type"] == "text/css; charset=utf-8"
    assert "immutable" in answer.headers["cache-control"]
    digest = hashlib.sha256(answer.content).hexdigest()
    assert style.endswith(f"?{digest[:12]}")
    for wrong in ("nothing.css", "..%2frendering.py", "vendor/htmx-LICENSE.txt", ""):
        problem(shared_api.client.get(f"/static/{wrong}"), 404)


VENDORED = {
    "htmx-2.0.11.min.js": "d6fdc75f204e6bdefa99b69bf1e6d4ac69b8a364f77929f45c13476b4000f717",
    "idiomorph-ext-0.8.0.min.js": (
        "5811b9a7eda14878b7dab4378bf60432e1bb6f11fcfb970cc26540642650181e"
    ),
}


@pytest.mark.parametrize("name", VENDORED)
def test_vendored_scripts_are_as_their_makers_packed_them(name):
    """Each has a line in their README with its digest, and its licence beside it."""
    folder = Path("app/web/static/vendor")
    assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == VENDORED[name]
    assert VENDORED[name] in (folder / "README.md").read_text()
    assert (folder / f"{name.split('-')[0]}-LICENSE.txt").exists()


def test_no_other_script_is_vendored():
    """Whatever is added has its digest above."""
    assert {path.name for path in Path("app/web/static/vendor").glob("*.js")} == set(VENDORED)


def test_what_goes_wrong_is_told_on_a_page_to_people_alone(shared_api):
    """Programs get problems, whoever asks /v1 as well."""
    answer = shared_api.client.get("/nothing", headers=HTML)
    assert answer.status_code == 404
    assert "there is nothing at this address" in answer.text
    assert answer.headers["content-type"].startswith("text/html")
    problem(shared_api.client.get("/nothing"), 404)
    problem(shared_api.client.get("/v1/jobs/x", headers=HTML), 404)


def test_jobs_are_searched_by_the_form(api):
    """Fields left empty ask nothing; what cannot be asked is named, and all are shown."""
    first = api.submit("distill", DISTILL, name="first", tags={"env": "prod"})["id"]
    second = api.submit("distill", {**DISTILL, "seed": 2}, name="second")["id"]

    def shown(query):
        text = api.client.get(f"/jobs?{query}").text
        return [one for one in (first, second) if f'href="/jobs/{one}"' in text]

    assert shown("q=&state=&kind=&dataset=&method=&tag=") == [first, second]
    assert shown("q=first") == [first]
    assert shown("tag=env:prod") == [first]
    assert shown("tag=env") == [first]
    assert shown("state=failed") == []
    assert shown("state=nonsense") == [first, second]
    text = api.client.get("/jobs?state=nonsense&tag=:").text
    assert "cannot be searched for as given: state, tag" in text


def test_older_jobs_are_a_link_away(api, monkeypatch):
    """A page at a time, with the search kept."""
    monkeypatch.setattr("app.web.jobs.N_JOBS", 2)
    ids = [api.submit("distill", {**DISTILL, "seed": k}, name="one")["id"] for k in range(3)]
    first = api.client.get("/jobs?q=one").text
    assert all(f'href="/jobs/{one}"' in first for one in ids[1:])
    (more,) = re.findall(r'href="([^"]+)" rel="next"', first)
    second = api.client.get(html.unescape(more)).text
    assert f'href="/jobs/{ids[0]}"' in second
    assert ids[1] not in second
    assert 'rel="next"' not in second


def test_a_pipeline_is_one_row_with_its_progress(api):
    """Its children stand behind it, and what runs is named."""
    params = {"dataset": "digits", "baselines": [], "calibrate": [{"method": "none"}]}
    api.submit("pipeline", params)
    api.claim()
    for path, row in (("/", "<article"), ("/jobs", '<th scope="row">')):
        page = api.client.get(path).text
        assert page.count(row) == 1
        assert "running" in page
        assert "distill 0/4" in page


def test_a_failed_job_says_why_without_markup(api):
    """What an error says is text, whatever it holds."""
    api.submit("distill", DISTILL)
    run = api.claim()
    api.fail(run)
    assert '<p class="wrong">loss</p>' in api.client.get("/").text
    assert "<small>loss</small>" in api.client.get("/jobs").text


def test_what_users_wrote_is_text_and_no_markup(api):
    """Names and errors may hold anything: nothing of them becomes an element."""
    markup = "<img src=x onerror=alert(1)>&\"'"
    with api.database.write() as connection:
        new = NewJob(kind="distill", params={}, dataset=markup, name=markup, queue="gpu")
        insert_job(connection, OWNER, new)
        run = runs.claim_next(connection, queue="gpu", worker="w", lease_seconds=60)
        runs.fail(connection, run, {"type": "internal", "message": markup}, Ending())
    for path in ("/", "/jobs"):
        page = api.client.get(path).text
        assert page.count("&lt;img src=x onerror=alert(1)&gt;&amp;") >= 3
        assert "<img src=x" not in page


def test_the_front_page_takes_only_reading(shared_api):
    """There is nothing to post to it."""
    problem(shared_api.client.post("/"), 405)


def test_the_documentation_comes_with_the_service(api):
    """All that its page names is here and lies in the package; nothing else may be asked."""
    answer = api.client.get("/docs")
    policy = answer.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; script-src 'self'; connect-src 'self';")
    addresses = re.findall(r'(?:src|href|spec-url)="([^"]+)"', answer.text)
    assert {"/", "/openapi.json"} < set(addresses)
    scripts = [one for one in addresses if one.endswith(".js")]
    assert len(scripts) == 2
    for one in addresses:
        assert api.client.get(one).status_code == 200, one
    for one in scripts:
        assert api.client.get(one).headers["content-type"].startswith("text/javascript")


def test_the_viewer_is_sent_as_who_asks_can_read_it(api):
    """Packed to who takes that, as it is to all others; kept, as its name has its version."""
    (address,) = re.findall(r'src="(/docs/rapidoc[^"]+)"', api.client.get("/docs").text)
    packed = api.client.get(address)
    plain = api.client.get(address, headers={"Accept-Encoding": "identity"})
    assert packed.headers["content-encoding"] == "gzip"
    assert "content-encoding" not in plain.headers
    assert plain.content == packed.content
    assert plain.text.startswith("/*! RapiDoc")
    assert "immutable" in packed.headers["cache-control"]
    assert len(packed.content) > 3 * int(packed.headers["content-length"])


def test_the_viewer_is_the_one_that_its_note_names():
    """Byte for byte what the registry has of that version."""
    folder = Path(documentation.__file__).parent / "assets" / "rapidoc"
    (packed,) = folder.glob("*.js.gz")
    note = (folder / "README.md").read_text()
    assert hashlib.sha256(packed.read_bytes()).hexdigest() in note
    assert packed.name in note


def test_home_leaves_out_what_only_serves_others(api):
    """Checks of uploads that went well are among all jobs, and not among what came out."""
    upload(api, "theirs")
    assert "intake of theirs" in api.client.get("/").text
    api.check_upload()
    assert "No jobs yet" in api.client.get("/").text
    assert "intake of theirs" in api.client.get("/jobs").text
