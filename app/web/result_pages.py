"""/results/ID: a result for people: what it is, and how to use it; a page without scripts."""

import re
from html import escape

from fastapi import APIRouter
from fastapi.responses import HTMLResponse

from app.api.http.dependencies import OwnerDep, ServiceDep, checked_id
from app.api.http.responses import rfc3339
from app.api.schemas.results import FormatBody, format_bodies, result_summary
from app.shared.errors import NotFoundError
from app.shared.store.catalog import artifacts_of_resources, find_result
from app.shared.store.kinds import RESOURCES
from app.web.page_layout import html_page
from ddcal_core.specs.results import Resource

router = APIRouter(prefix="/results", include_in_schema=False)

PAGE = """<header>
<div><h1>{title}</h1>
<p><code>{id}</code> · {facts} · <a href="{self}">JSON</a> · <a href="{job}">its job</a> ·
<a href="/">all jobs</a></p></div>
</header>
<h2>Use it</h2>
<p>Each format is made when it is first asked for, and kept: the first time it takes some seconds.
The lines read the file where it lies. On the command line:
<code>ddcal download {id} --format FORMAT</code></p>
{formats}"""

FORMAT = """<section><h3>{link}</h3>
<p>{description}</p>
<details><summary>{needs}</summary><pre><code>{use}</code></pre></details></section>"""

# Descriptions are Markdown, for the API's document.
CODE = re.compile("`([^`]*)`")


@router.get("/{result_id}")
def get_result_page(service: ServiceDep, owner_id: OwnerDep, result_id: str) -> HTMLResponse:
    """The formats of a result, each with its address and lines that read it."""
    resource = _resource_of(result_id)
    wanted = checked_id(RESOURCES[resource].prefix, result_id)
    with service.database.read() as connection:
        result = find_result(connection, owner_id, resource, wanted)
        files = artifacts_of_resources(connection, owner_id, [result.id])
    shown = result_summary(result, files)
    title = f"{resource.replace('_', ' ')} of {shown.dataset}".capitalize()
    facts = [shown.name, shown.method, rfc3339(shown.created_at)]
    content = PAGE.format(
        title=escape(title),
        id=escape(shown.id),
        facts=escape(" · ".join(fact for fact in facts if fact)),
        self=escape(shown.links["self"]),
        job=escape(shown.links["job"]),
        formats="\n".join(map(_format, format_bodies(result, files))),
    )
    return html_page(title, content)


def _resource_of(result_id: str) -> Resource:
    prefix = result_id.partition("_")[0]
    found = next((word for word, facts in RESOURCES.items() if facts.prefix == prefix), None)
    if found is None:
        raise NotFoundError("not_found", "there is no result at this address")
    return found


def _format(one: FormatBody) -> str:
    file = f"<small><code>{escape(one.file_name)}</code></small>"
    link = f'<a href="{escape(one.url)}">{escape(one.format)}</a> {file}'
    if one.why_not is not None:
        link = (
            f'{escape(one.format)} <span class="soft">not of this one: {escape(one.why_not)}</span>'
        )
    return FORMAT.format(
        link=link,
        description=CODE.sub(r"<code>\1</code>", escape(one.description)),
        needs=escape(f"Python, with {', '.join(one.needs)}" if one.needs else "Python alone"),
        use=escape(one.use),
    )
