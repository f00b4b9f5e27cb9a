import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families

from app.api.http.request_meter import BUCKETS, RequestMeter
from app.shared.engine import runs
from app.shared.settings import Settings
from app.shared.store.job_records import Ending
from tests.api.serving import SET, problem, running_api
from tests.damage import flip_a_bit
from tests.waiting import until

DISTILL = {"dataset": "digits"}
FAMILIES = {
    "ddcal_jobs": "gauge",
    "ddcal_queue_depth": "gauge",
    "ddcal_queue_oldest_due_seconds": "gauge",
    "ddcal_attempts": "gauge",
    "ddcal_leases_lost": "gauge",
    "ddcal_outbox_rings": "gauge",
    "ddcal_event_streams": "gauge",
    "ddcal_damaged_files": "gauge",
    "ddcal_database_complaints": "gauge",
    "ddcal_failed_check": "gauge",
    "ddcal_http_requests": "counter",
    "ddcal_http_request_seconds": "histogram",
}


def scraped(client):
    """The families of a scrape, as Prometheus reads them."""
    answer = client.get("/metrics")
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert answer.text.endswith("\n")
    return list(text_string_to_metric_families(answer.text))


def measured(api):
    """Every sample of a scrape: name and labels to value."""
    samples = {}
    for family in scraped(api.client):
        for sample in family.samples:
            key = sample.name, frozenset(sample.labels.items())
            assert key not in samples
            samples[key] = sample.value
    return samples


def value(samples, name, **labels):
    """The sample of a name that has exactly these labels."""
    return samples[name, frozenset(labels.items())]


def values_of(samples, family, *labels):
    """All samples of a name, by the values of their labels, in this order."""
    return {
        tuple(dict(pairs)[label] for label in labels): n
        for (name, pairs), n in samples.items()
        if name == family
    }


def test_jobs_queues_and_attempts_are_counted(api):
    """By kind and state, queue, outcome; of the database that all processes share."""
    before = measured(api)
    assert value(before, "ddcal_queue_depth", queue="gpu") == 0
    assert value(before, "ddcal_queue_oldest_due_seconds", queue="intake") == 0
    api.make("distill", DISTILL, ("distilled_set", SET, {}))
    for _ in range(3):
        api.submit("distill", DISTILL)
    api.fail(api.claim())
    with api.database.write() as connection:  # back in the queue, and not due for long
        lost = runs.claim_next(connection, queue="gpu", worker="w", lease_seconds=-1)
    with api.database.write() as connection:
        runs.recover_lost(connection, lost.id)
    after = measured(api)
    assert values_of(after, "ddcal_jobs", "kind", "state") == {
        ("distill", "succeeded"): 1,
        ("distill", "failed"): 1,
        ("distill", "queued"): 2,
    }
    assert value(after, "ddcal_queue_depth", queue="gpu") == 2
    assert 0 < value(after, "ddcal_queue_oldest_due_seconds", queue="gpu") < 600
    assert values_of(after, "ddcal_attempts", "outcome") == {
        ("succeeded",): 1,
        ("failed",): 1,
        ("lost",): 1,
    }
    assert value(after, "ddcal_leases_lost") == 1
    assert value(after, "ddcal_outbox_rings") >= 0
    assert value(after, "ddcal_event_streams") == 0


def test_a_job_that_is_not_due_has_no_age(api):
    """Nor has an attempt that runs an outcome."""
    api.submit("distill", DISTILL)
    run = api.claim()
    assert value(measured(api), "ddcal_attempts", outcome="running") == 1
    with api.database.write() as connection:
        runs.fail(connection, run, {"type": "t", "message": ""}, Ending(), retry_seconds=100)
    samples = measured(api)
    assert value(samples, "ddcal_queue_depth", queue="gpu") == 1
    assert value(samples, "ddcal_queue_oldest_due_seconds", queue="gpu") == 0


def test_requests_are_counted_by_template(api):
    """Never by id; the buckets add up; an address that is none is `none`."""
    job_id = api.submit("distill", DISTILL)["id"]
    for _ in range(3):
        api.job(job_id)
    api.client.get(f"/v1/jobs/job_{'0' * 26}")
    api.client.get("/nowhere")
    samples = measured(api)
    one = {"route": "/v1/jobs/{job_id}", "method": "GET"}
    assert value(samples, "ddcal_http_requests_total", **one, status="200") == 3
    assert value(samples, "ddcal_http_requests_total", **one, status="404") == 1
    nowhere = {"route": "none", "method": "GET", "status": "404"}
    assert value(samples, "ddcal_http_requests_total", **nowhere) == 1
    assert value(samples, "ddcal_http_request_seconds_bucket", **one, le="+Inf") == 4
    assert value(samples, "ddcal_http_request_seconds_count", **one) == 4
    assert value(samples, "ddcal_http_request_seconds_sum", **one) > 0
    shown = [text for _, labels in samples for _, text in labels]
    assert not any("job_" in text.replace("{job_id}", "") for text in shown)


def test_the_families_are_these(api):
    """Their names and kinds are what dashboards are made of: none more, none less."""
    api.submit("distill", DISTILL)
    families = scraped(api.client)
    assert {family.name: family.type for family in families} == FAMILIES
    assert len(families) == len(FAMILIES)
    assert all(family.documentation for family in families)


def test_open_streams_are_counted(api):
    """As long as somebody listens."""
    job_id = api.submit("distill", DISTILL)["id"]

    def n_streams():
        return value(measured(api), "ddcal_event_streams")

    headers = {"Accept": "text/event-stream"}
    with api.client.stream("GET", f"/v1/jobs/{job_id}/events", headers=headers):
        until(lambda: n_streams() == 1)
    until(lambda: n_streams() == 0)


def test_each_application_counts_its_own(migrated_sqlite, tmp_path):
    """Two in one process share neither counts nor the database's families."""
    settings = Settings(data_folder=tmp_path, database_url=f"sqlite:///{migrated_sqlite}")
    with running_api(settings) as asked, running_api(settings) as beside:
        asked.client.get("/healthz")
        healthz = {"route": "/healthz", "method": "GET", "status": "200"}
        assert value(measured(asked), "ddcal_http_requests_total", **healthz) == 1
        samples = measured(beside)
        assert value(samples, "ddcal_outbox_rings") == 0
        assert values_of(samples, "ddcal_http_requests_total", "route") == {}


def test_a_database_that_is_away_is_503(tmp_path):
    """Half of a scrape would look like a service without jobs."""
    url = f"postgresql+psycopg://postgres@/x?host={tmp_path}"
    with running_api(Settings(data_folder=tmp_path, database_url=url)) as api:
        assert problem(api.client.get("/metrics"), 503)["code"] == "database_unavailable"


@pytest.fixture
def registry():
    """Of one meter."""
    return CollectorRegistry()


def test_a_time_falls_into_the_first_bucket_that_holds_it(registry):
    """A limit belongs to its bucket; an odd method makes no label of its own."""
    meter = RequestMeter(registry)
    for seconds in (0.005, 0.006, 99.0):
        meter.count("/", "BREW", 200, seconds)
    other = {"route": "/", "method": "other"}
    requests = {**other, "status": "200"}
    assert registry.get_sample_value("ddcal_http_requests_total", requests) == 3
    limits = [*map(str, BUCKETS), "+Inf"]
    name = "ddcal_http_request_seconds_bucket"
    found = [registry.get_sample_value(name, {**other, "le": limit}) for limit in limits]
    assert found == [1, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 3]
    assert registry.get_sample_value("ddcal_http_request_seconds_sum", other) == pytest.approx(
        99.011
    )


def test_counting_makes_no_series_of_its_own(registry):
    """One line of a counter; of a histogram its buckets, count and sum: no times of making."""
    RequestMeter(registry).count("/", "GET", 200, 0.1)
    names = {sample.name for family in registry.collect() for sample in family.samples}
    assert names == {
        "ddcal_http_requests_total",
        "ddcal_http_request_seconds_bucket",
        "ddcal_http_request_seconds_count",
        "ddcal_http_request_seconds_sum",
    }


def test_damage_that_housekeeping_finds_is_counted(migrated_url, tmp_path):
    """A file altered since it was stored; housekeeping of the next start reads it."""
    settings = Settings(data_folder=tmp_path / "data", database_url=migrated_url)
    with running_api(settings) as api:
        job_id, _ = api.make("distill", DISTILL, ("distilled_set", SET, {"a": b"1", "b": b"2"}))
        flip_a_bit(next((settings.artifact_folder / job_id).iterdir()))
    with running_api(settings) as api:
        until(lambda: measured(api)["ddcal_damaged_files", frozenset()] == 1)
        assert measured(api)["ddcal_database_complaints", frozenset()] == 0
