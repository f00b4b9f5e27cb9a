import hashlib
import re
from html import escape
from pathlib import Path

from app.shared.engine import runs
from app.shared.engine.jobs import insert_job
from app.shared.store.job_records import Ending, NewJob
from app.shared.store.kinds import RESOURCES
from app.web import documentation
from ddcal_core.specs.exports import FORMATS
from tests.api.serving import OWNER, problem
from tests.api.test_comparisons import pipeline
from tests.api.test_results import DISTILL, chain

__all__ = ["chain"]  # a fixture, asked for by name


def test_an_empty_service_says_what_to_do(shared_api):
    """No jobs yet, and how to submit one."""
    answer = shared_api.client.get("/")
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert "No jobs yet" in answer.text


def test_the_front_page_links_jobs_and_reports(api, chain):
    """Every link on it leads somewhere."""
    page = api.client.get("/").text
    links = re.findall(r'href="([^"]+)"', page)
    assert any(link.endswith("/content") for link in links)
    for link in links:
        assert api.client.get(link).status_code == 200


def test_the_front_page_links_comparisons(api):
    """As it does reports: the page itself."""
    two = [pipeline(api, seed=seed) for seed in (1, 2)]
    api.client.post("/v1/comparisons", json={"reports": two})
    values = {"dataset": "digits", "report_ids": []}
    api.succeed(api.claim("intake"), ("comparison", values, {"comparison.html": b"<p>them"}))
    (link,) = re.findall(r'href="([^"]+)">comparison<', api.client.get("/").text)
    assert api.client.get(link).content == b"<p>them"


def test_a_result_s_page_says_how_to_use_it(api, chain):
    """From the front page: each format with its address, or why not, and lines that read it."""
    front = api.client.get("/").text
    for collection, result_id in chain.items():
        assert f'href="/results/{result_id}"' in front
        page = api.client.get(f"/results/{result_id}").text
        (resource,) = (name for name, one in RESOURCES.items() if one.collection == collection)
        for word, facts in FORMATS[resource].items():
            assert escape(facts.use) in page
            link = f'href="/v1/{collection}/{result_id}/content?format={word}"'
            assert (link in page) != (f"{word} <span" in page)
        assert "<script" not in page
        assert "`" not in re.sub("<pre>.*?</pre>", "", page, flags=re.DOTALL)
        assert api.client.get(f"/v1/{collection}/{result_id}").json()["links"]["job"] in page


def test_there_is_no_page_of_what_is_no_result(shared_api):
    """Neither of a job nor of anything that was deleted."""
    for wrong in ("job_" + "0" * 26, "set_" + "0" * 26, "set_x", "nothing"):
        problem(shared_api.client.get(f"/results/{wrong}"), 404)


def test_the_front_page_needs_nothing_else(api):
    """No script, no foreign address; it renews itself."""
    api.submit("distill", DISTILL)
    answer = api.client.get("/")
    assert '<meta http-equiv="refresh"' in answer.text
    assert "<script" not in answer.text
    assert "http:" not in answer.text.replace("http-equiv", "")
    assert "https:" not in answer.text
    assert answer.headers["content-security-policy"].startswith("default-src 'none'")


def test_a_pipeline_is_one_row_with_its_progress(api):
    """Its children stand behind it, and what runs is named."""
    params = {"dataset": "digits", "baselines": [], "calibrate": [{"method": "none"}]}
    api.submit("pipeline", params)
    api.claim()
    page = api.client.get("/").text
    assert page.count("<tr><td>") == 1
    assert "running" in page
    assert "distill 0/4" in page


def test_a_failed_job_says_why_without_markup(api):
    """What an error says is text, whatever it holds."""
    api.submit("distill", DISTILL)
    run = api.claim()
    api.fail(run)
    assert "<small>loss</small>" in api.client.get("/").text


def test_what_users_wrote_is_text_and_no_markup(api):
    """Names and errors may hold anything: nothing of them becomes an element."""
    markup = "<img src=x onerror=alert(1)>&\"'"
    with api.database.write() as connection:
        new = NewJob(kind="distill", params={}, dataset=markup, name=markup, queue="gpu")
        insert_job(connection, OWNER, new)
        run = runs.claim_next(connection, queue="gpu", worker="w", lease_seconds=60)
        runs.fail(connection, run, {"type": "internal", "message": markup}, Ending())
    page = api.client.get("/").text
    assert page.count("&lt;img src=x onerror=alert(1)&gt;&amp;") == 3
    assert "<img" not in page


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
