"""What every page for people has: its frame, its style, and what it may load (nothing)."""

from collections.abc import Mapping
from html import escape

from fastapi.responses import HTMLResponse

# Neither scripts nor anything from elsewhere; forms go to this service alone.
POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; base-uri 'none'; "
    "frame-ancestors 'none'"
)
# "no-referrer" would make a browser call the origin of our own forms "null".
HEADERS = {
    "Content-Security-Policy": POLICY,
    "Cache-Control": "no-store",
    "Referrer-Policy": "same-origin",
}

STYLE = """
:root { color-scheme: light dark; --line: #8884; --soft: #666; --bar: #2a6ac0; --bad: #b03325;
  --good: #1f7a48; }
@media (prefers-color-scheme: dark) { :root { --soft: #a0a0a0; --bar: #7fb0f0; --bad: #f08a7c;
  --good: #6cc795; } }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 70rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.4rem; margin: 0 0 .2rem; }
p { color: var(--soft); margin: 0 0 1.2rem; }
table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; padding: .45rem .8rem .45rem 0; border-bottom: 1px solid var(--line);
  vertical-align: top; }
th { font-weight: 600; color: var(--soft); }
a { color: var(--bar); }
small, .soft { color: var(--soft); }
code { font-size: .85em; }
td code, button { white-space: nowrap; }
pre { overflow-x: auto; padding: .6rem .8rem; border: 1px solid var(--line); border-radius: .3rem; }
h2 { font-size: 1.15rem; } h3 { font-size: 1rem; margin: 1.2rem 0 .2rem; }
section p { margin-bottom: .3rem; max-width: 46rem; }
progress { width: 9rem; height: .7rem; accent-color: var(--bar); }
header { display: flex; justify-content: space-between; align-items: flex-start; gap: 1rem; }
input, button { font: inherit; padding: .4rem .7rem; border: 1px solid var(--line);
  border-radius: .3rem; }
.login { max-width: 26rem; }
.login label { display: block; margin-bottom: .3rem; }
.login input { display: block; box-sizing: border-box; width: 100%; margin-bottom: .8rem; }
.wide { overflow-x: auto; }
.state { white-space: nowrap; }
.succeeded { color: var(--good); } .partial, .failed, .expired, .wrong { color: var(--bad); }
.running { color: var(--bar); }
@media (max-width: 40rem) {
  .wide thead, .wide td:empty { display: none; }
  .wide table, .wide tbody, .wide tr, .wide td { display: block; border: 0; padding: 0; }
  .wide tr { padding: .5rem 0; border-bottom: 1px solid var(--line); }
}
"""

PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">{refresh}
<title>{title}</title>
<style>{style}</style>
</head>
<body>
{content}
</body>
</html>
"""


def html_page(
    title: str,
    content: str,
    *,
    status: int = 200,
    refresh_seconds: int | None = None,
    headers: Mapping[str, str] | None = None,
) -> HTMLResponse:
    """A page around its content, which is HTML already.

    Args:
        title: as text.
        content: the inside of its body.
        status: of the answer.
        refresh_seconds: after which the browser loads it again.
        headers: beside those of every page.
    """
    refresh = ""
    if refresh_seconds is not None:
        refresh = f'\n<meta http-equiv="refresh" content="{refresh_seconds}">'
    text = PAGE.format(title=escape(title), content=content, refresh=refresh, style=STYLE)
    return HTMLResponse(text, status_code=status, headers={**HEADERS, **(headers or {})})
