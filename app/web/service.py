"""/settings: how the service is, how it is reached, and what it keeps; nothing is changed here."""

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

from app.api.http.dependencies import ServiceDep
from app.shared.settings import Settings
from app.shared.store.disk import free_bytes
from app.shared.upkeep.readiness import check_all, readiness_of
from app.shared.upkeep.service_counts import count_at_work, queue_counts
from app.web.rendering import page

router = APIRouter(include_in_schema=False)

PATH = "/settings"
SHOWN = (
    "workers",
    "trainer_threads",
    "intakes",
    "trainer_memory_bytes",
    "max_upload_bytes",
    "max_decoded_bytes",
    "min_free_bytes",
    "max_attempts",
    "stall_seconds",
    "kept_job_days",
    "kept_job_bytes",
    "kept_expert_days",
    "kept_expert_bytes",
    "allow_downloads",
)
"""Settings that users ask about; none of them is a secret."""


@router.get(PATH)
def get_settings(request: Request, service: ServiceDep) -> HTMLResponse:
    """Health, queues, disk, key and settings."""
    checks = check_all(service.database, service.settings)
    with service.database.read() as connection:
        queues, n_at_work = queue_counts(connection), count_at_work(connection)
    values = {
        "version": request.app.version,
        "readiness": readiness_of(checks),
        "checks": checks,
        "queues": queues,
        "running": n_at_work,
        "has_key": service.access.key is not None,
        "base": str(request.base_url).rstrip("/"),
        "free": free_bytes(service.settings.folder),
        "floor": service.settings.min_free_bytes,
        "settings": _shown(service.settings),
    }
    return page(request, service, "settings.html", values)


def _shown(settings: Settings) -> list[tuple[str, str, str]]:
    """Variable, value and meaning of each setting that is shown."""
    rows = []
    for name in SHOWN:
        value = getattr(settings, name)
        told = (
            "not set" if value is None else f"{value:,}" if isinstance(value, int) else f"{value:g}"
        )
        if isinstance(value, bool):
            told = "yes" if value else "no"
        meaning = Settings.model_fields[name].description or ""
        rows.append((f"DDCAL_{name.upper()}", told, meaning))
    return rows
