"""The client for code that awaits: the same conversations, against the real API."""

import asyncio
import inspect

import pytest

import ddcal
from tests.api.npz import GOOD
from tests.api.serving import FACTS, SET
from tests.ddcal.conftest import url_of

DISTILL = {"dataset": "digits", "distill": {"images_per_class": 1}}
PAIRS = [
    (ddcal.Client, ddcal.AsyncClient),
    (ddcal.Job, ddcal.AsyncJob),
    (ddcal.Result, ddcal.AsyncResult),
    (ddcal.Dataset, ddcal.AsyncDataset),
]


def public(cls):
    """The names of what a class offers, each with the parameters it takes."""
    return {
        name: [*inspect.signature(member).parameters] if callable(member) else None
        for name, member in inspect.getmembers(cls)
        if not name.startswith("_")
    }


@pytest.mark.parametrize(("waiting", "awaiting"), PAIRS)
def test_both_offer_the_same(waiting, awaiting):
    """Under the same names, with the same parameters."""
    theirs = {name: found or [] for name, found in public(awaiting).items()}
    ours = {name: found or [] for name, found in public(waiting).items()}
    assert ours.keys() == theirs.keys()
    for name, parameters in ours.items():
        # A property there may be a method here: both are awaited.
        assert [one for one in theirs[name] if one != "self"] == [
            one for one in parameters if one != "self"
        ], name


def test_a_session(api, tmp_path):
    """Submit, wait, list, events, download, upload, delete."""

    async def session():
        async with ddcal.AsyncClient(url_of(api)) as client:
            job = await client.submit("distill", params=DISTILL)
            run = await asyncio.to_thread(api.claim)
            waiting = asyncio.create_task(job.wait(timeout=60))
            files = ("distilled_set", SET, {"manifest.json": b"{}"})
            await asyncio.to_thread(api.succeed, run, files)
            assert (await waiting).state == "succeeded"
            assert [one.id async for one in client.jobs()] == [job.id]
            assert (await job.describe(name="it")).record.name == "it"
            types = [event.type async for event in job.events(follow=True)]
            assert types.count("state") == 3
            written = await job.download(tmp_path / "out")
            assert [path.name for path in written] == ["manifest.json"]
            (result,) = await job.results()
            assert [one.id async for one in client.sets()] == [result.id]
            assert (await result.describe(tags={"a": "b"})).record.tags == {"a": "b"}
            assert await job.log == ""
            with pytest.raises(ddcal.NotFoundError, match="it has no report"):
                await job.report

            dataset = await client.upload("mine", GOOD)
            await asyncio.to_thread(api.check_upload, facts=FACTS)
            assert (await dataset.wait(timeout=60)).state == "ready"
            assert (await dataset.describe(notes="two classes")).record.notes == "two classes"
            assert await client.version() == ddcal.__version__
            await job.delete()
            with pytest.raises(ddcal.NotFoundError):
                await job.refresh()

    asyncio.run(session())


def test_a_failed_job_says_why(api):
    """As where one waits."""

    async def session():
        async with ddcal.AsyncClient(url_of(api)) as client:
            job = await client.submit("distill", params=DISTILL)
            await asyncio.to_thread(lambda: api.fail(api.claim()))
            with pytest.raises(ddcal.JobFailedError, match="nan_loss: loss"):
                await job.wait(timeout=60)

    asyncio.run(session())
