"""create_app(): settings, routers, error handlers; nothing else."""

import contextlib
from collections.abc import AsyncIterator
from functools import cache, partial
from importlib import metadata

from fastapi import FastAPI
from fastapi.concurrency import run_in_threadpool
from fastapi.exceptions import RequestValidationError
from prometheus_client import CollectorRegistry
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from app.api import (
    artifacts,
    comparisons,
    datasets,
    exports,
    health,
    job_events,
    job_snapshots,
    job_submission,
    jobs,
    logits,
    metrics,
    named_studies,
    network_uploads,
    plans,
    results,
    set_uploads,
)
from app.api.http.access import Access
from app.api.http.dependencies import Service
from app.api.http.event_reader import EventReader
from app.api.http.middleware import RequestMiddleware
from app.api.http.reading import ReadingMiddleware
from app.api.http.request_meter import RequestMeter
from app.api.http.shared_transactions import SharedTransactions
from app.api.metrics import ServiceCollector
from app.api.openapi import describe
from app.shared.engine.queue import CeleryDoorbell, Doorbell
from app.shared.errors import DdcalError
from app.shared.settings import Settings
from app.shared.store.artifacts import ArtifactStore
from app.shared.store.database import newest_revision, open_database
from app.shared.upkeep.reconciler import start_background
from app.web import compare as web_compare
from app.web import datasets as web_datasets
from app.web import (
    documentation,
    explore,
    home,
    job_changes,
    login,
    new_job,
    new_study,
    result_pages,
    set_images,
    static_files,
    uploads,
)
from app.web import job as web_job
from app.web import jobs as web_jobs
from app.web import results as web_results
from app.web import service as service_page
from app.web.errors import answer_error, problem_page
from ddcal_core.errors import InvalidDataError

LOCAL_OWNER = "local"
"""Whose everything is, until there are accounts."""

N_TOGETHER = 32
# The router looks through them in this order: what is asked most comes first.
BY_USE = (
    *(
        jobs,
        job_submission,
        named_studies,
        plans,
        job_events,
        job_snapshots,
        health,
        metrics,
        home,
        web_jobs,
        web_job,
        job_changes,
        new_job,
        new_study,
        web_results,
        web_datasets,
        uploads,
        service_page,
        result_pages,
        set_images,
        explore,
        web_compare,
        static_files,
        login,
    ),
    *(datasets, logits, results, exports, comparisons, set_uploads, network_uploads, artifacts),
    documentation,
)
ANSWERED_ERRORS = (
    DdcalError,
    InvalidDataError,
    RequestValidationError,
    HTTPException,
    ClientDisconnect,
)


def create_app(
    settings: Settings, doorbell: Doorbell | None = None, *, owner_id: str = LOCAL_OWNER
) -> FastAPI:
    """The API as an ASGI application; its database is opened when it starts.

    Args:
        settings: of this process.
        doorbell: rung for new jobs; default: the settings' broker.
        owner_id: whose every request is, until there are accounts.

    Raises:
        SettingsError: they have no key and do not say that none is wanted.
    """
    access = Access(settings, pages=(home.PATH, documentation.PATH))
    registry = CollectorRegistry()

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        database = open_database(settings)
        await run_in_threadpool(newest_revision)  # so that no probe waits for it
        reader = EventReader(database)
        # Several writers at once lock rows in one order each; together they would in none.
        n_together = N_TOGETHER if database.n_threads == 1 else 1
        reads = SharedTransactions(
            database.read, database.n_threads, n_together=N_TOGETHER, harmless=(DdcalError,)
        )
        writes = SharedTransactions(database.write, database.n_threads, n_together=n_together)
        app.state.service = Service(
            settings=settings,
            access=access,
            database=database,
            store=ArtifactStore(settings.artifact_folder),
            reader=reader,
            reads=reads,
            writes=writes,
            registry=registry,
        )
        background = start_background(database, settings, doorbell or CeleryDoorbell(settings))
        counts = ServiceCollector(database, settings, lambda: reader.n_streams, background.scrubber)
        registry.register(counts)
        try:
            yield
        finally:
            registry.unregister(counts)
            await run_in_threadpool(reader.stop)
            await run_in_threadpool(background.stop)
            await run_in_threadpool(writes.stop)
            await run_in_threadpool(reads.stop)
            database.close()

    app = FastAPI(
        title="ddcal",
        version=metadata.version("ddcal"),  # as pyproject.toml has it
        lifespan=lifespan,
        docs_url=None,  # its page loads scripts from a foreign server; documentation has ours
        redoc_url=None,
        redirect_slashes=False,
        generate_unique_id_function=lambda route: route.name,  # clients are generated by them
    )
    app.add_middleware(ReadingMiddleware)
    meter = RequestMeter(registry)
    app.add_middleware(
        RequestMiddleware, access=access, meter=meter, owner_id=owner_id, problem_page=problem_page
    )
    for error in ANSWERED_ERRORS:
        app.add_exception_handler(error, answer_error)
    for resource in BY_USE:
        app.include_router(resource.router)
    # Made when it is first asked for: it would be most of a start.
    document = cache(partial(describe, app, needs_key=settings.api_key is not None))
    app.openapi = document  # type: ignore[method-assign]  # FastAPI's documented hook
    return app
