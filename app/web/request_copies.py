"""A job's request as people copy it: as JSON, and as what sends it from three places."""

import json
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pprint import pformat
from typing import Any

from app.shared.store.job_records import Job
from app.submission.requests import JOB_REQUESTS, Request
from app.submission.submit import request_of

CODE_WIDTH = 96


@dataclass(frozen=True, kw_only=True)
class Copies:
    """What asks for the same once more."""

    json: str
    curl: str
    python: str
    command: str


def copies_of(job: Job, url: str, *, needs_key: bool) -> Copies | None:
    """A job's request to be copied; None of a job that no request has asked for.

    Args:
        job: whose.
        url: of the service, as whoever looks has found it.
        needs_key: whether the service has one.
    """
    if job.kind not in JOB_REQUESTS:
        return None
    asked = said(request_of(job))
    # Of ASCII alone: no mark that turns text around gets into a terminal unseen.
    text = json.dumps(asked, indent=1)
    key = '\n  -H "Authorization: Bearer $DDCAL_API_KEY" \\' if needs_key else ""
    address = shlex.quote(url)
    return Copies(
        json=text,
        curl=f"curl {shlex.quote(url + '/v1/jobs')} \\{key}\n"
        f"  -H 'Content-Type: application/json' --data-binary @- <<'END'\n{text}\nEND",
        python=_python(asked, url),
        command=f"DDCAL_URL={address} ddcal submit - <<'END'\n{text}\nEND",
    )


def said(asked: Mapping[str, Any]) -> dict[str, Any]:
    """A request without what means the same left out."""
    fields = Request.model_fields
    return {
        name: value
        for name, value in asked.items()
        if name not in fields or (value != fields[name].default and value is not None)
    }


def _python(asked: Mapping[str, Any], url: str) -> str:
    literal = ascii_literal(asked)
    return (
        "import ddcal\n\n"
        f"request = {literal}\n\n"
        f"with ddcal.Client({url!r}) as client:\n"
        "    job = client.submit(request)\n"
        "    job.wait(progress=True)\n"
        "    print(job.state, [one.id for one in job.results])"
    )


def ascii_literal(value: object) -> str:
    """A value as Python writes it, of ASCII characters alone."""
    text = pformat(value, width=CODE_WIDTH, sort_dicts=False)
    # Only inside of its strings can there be others, and there an escape means the same.
    return "".join(one if one.isascii() else one.encode("unicode_escape").decode() for one in text)
