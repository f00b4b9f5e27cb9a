"""What `ddcal check` learns of the running service: what /readyz answers, or would."""

import httpx

from app.shared.settings import Settings
from app.shared.store.database import Database
from app.shared.upkeep.readiness import OK, check_all
from ddcal.local_service import kept_key, running_address

_ANSWER_SECONDS = 10


def look_at_service(database: Database, settings: Settings) -> list[str] | None:
    """What is wrong with the service, one line each; None where there is none to ask.

    A `ddcal serve` on the data folder is asked itself. Elsewhere the broker and the database are,
    where the settings name a broker.
    """
    address = running_address(settings.folder)
    if address is not None:
        return _asked_of(address, settings)
    if "redis_url" not in settings.model_fields_set:
        return None
    checks = check_all(database, settings)
    return [f"{check.name}: {check.detail}" for check in checks if not check.is_ok]


def _asked_of(address: str, settings: Settings) -> list[str]:
    given = settings.api_key
    key = given.get_secret_value() if given is not None else kept_key(settings.folder)
    headers = {} if key is None else {"Authorization": f"Bearer {key}"}
    try:
        answer = httpx.get(
            f"{address}/readyz", headers=headers, trust_env=False, timeout=_ANSWER_SECONDS
        )
    except httpx.TransportError as error:
        return [f"the API at {address} does not answer: {type(error).__name__}"]
    try:
        checks = answer.json()["checks"]
        return [f"{one['name']}: {one['detail']}" for one in checks if one["status"] != OK]
    except (ValueError, KeyError):
        return [f"the API at {address} does not say how it is: status {answer.status_code}"]
