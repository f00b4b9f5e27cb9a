import re

from app.api.http.request_meter import RequestMeter
from app.shared.engine import runs
from app.shared.store.job_records import Ending
from tests.api.serving import SET

DISTILL = {"dataset": "digits"}
LINE = re.compile(r'([a-z_]+)(?:\{((?:[a-z_]+="[^"\n]*",?)*)\})? (-?[0-9.e+-]+)')


def measured(api):
    """Every sample of a scrape: name and labels to value, read as the text format says."""
    answer = api.client.get("/metrics")
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert answer.text.endswith("\n")
    samples = {}
    for line in answer.text.splitlines():
        if not line.startswith(("# HELP ", "# TYPE ")):
            name, labels, value = LINE.fullmatch(line).groups()
            assert (name, labels) not in samples
            samples[name, labels or ""] = float(value)
    return samples


def test_jobs_queues_and_attempts_are_counted(api):
    """By kind and state, queue, outcome; of the database that all processes share."""
    before = measured(api)
    assert before["ddcal_queue_depth", 'queue="gpu"'] == 0
    assert before["ddcal_queue_oldest_due_seconds", 'queue="intake"'] == 0
    api.make("distill", DISTILL, ("distilled_set", SET, {}))
    for _ in range(3):
        api.submit("distill", DISTILL)
    api.fail(api.claim())
    with api.database.write() as connection:  # back in the queue, and not due for long
        lost = runs.claim_next(connection, queue="gpu", worker="w", lease_seconds=-1)
    with api.database.write() as connection:
        runs.recover_lost(connection, lost.id)
    after = measured(api)
    jobs = {labels: n for (name, labels), n in after.items() if name == "ddcal_jobs"}
    assert jobs == {
        f'kind="distill",state="{state}"': n
        for state, n in (("succeeded", 1), ("failed", 1), ("queued", 2))
    }
    assert after["ddcal_queue_depth", 'queue="gpu"'] == 2
    assert 0 < after["ddcal_queue_oldest_due_seconds", 'queue="gpu"'] < 600
    attempts = {labels: n for (name, labels), n in after.items() if name == "ddcal_attempts"}
    assert attempts == {'outcome="succeeded"': 1, 'outcome="failed"': 1, 'outcome="lost"': 1}
    assert after["ddcal_leases_lost", ""] == 1
    assert after["ddcal_outbox_rings", ""] >= 0
    assert after["ddcal_event_streams", ""] == 0


def test_a_job_that_is_not_due_has_no_age(api):
    """Nor has an attempt that runs an outcome."""
    api.submit("distill", DISTILL)
    run = api.claim()
    assert measured(api)["ddcal_attempts", 'outcome="running"'] == 1
    with api.database.write() as connection:
        runs.fail(connection, run, {"type": "t", "message": ""}, Ending(), retry_seconds=100)
    samples = measured(api)
    assert samples["ddcal_queue_depth", 'queue="gpu"'] == 1
    assert samples["ddcal_queue_oldest_due_seconds", 'queue="gpu"'] == 0


def test_requests_are_counted_by_template(api):
    """Never by id; the buckets add up; an address that is none is `none`."""
    job_id = api.submit("distill", DISTILL)["id"]
    for _ in range(3):
        api.job(job_id)
    api.client.get(f"/v1/jobs/{job_id[:-1]}x")
    api.client.get("/nowhere")
    samples = measured(api)
    route = 'route="/v1/jobs/{job_id}",method="GET"'
    assert samples["ddcal_http_requests_total", f'{route},status="200"'] == 3
    assert samples["ddcal_http_requests_total", f'{route},status="404"'] == 1
    assert samples["ddcal_http_requests_total", 'route="none",method="GET",status="404"'] == 1
    assert samples["ddcal_http_request_seconds_bucket", f'{route},le="+Inf"'] == 4
    assert samples["ddcal_http_request_seconds_count", route] == 4
    assert samples["ddcal_http_request_seconds_sum", route] > 0
    assert not any("job_" in labels.replace("{job_id}", "") for _, labels in samples)


def test_a_time_falls_into_the_first_bucket_that_holds_it():
    """A limit belongs to its bucket; an odd method makes no label of its own."""
    meter = RequestMeter()
    for seconds in (0.005, 0.006, 99.0):
        meter.count("/", "BREW", 200, seconds)
    assert meter.answers == {("/", "other", 200): 3}
    assert meter.times["/", "other"] == [1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]
