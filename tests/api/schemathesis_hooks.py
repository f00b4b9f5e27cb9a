"""Where the service is kinder than its document: Schemathesis loads this, and leaves that out."""

import schemathesis


@schemathesis.hook
def filter_case(context, case):
    """A distillation without a method is taken for dm; generated clients want it required."""
    params = case.body.get("params") if isinstance(case.body, dict) else None
    distill = params.get("distill") if isinstance(params, dict) else None
    return not isinstance(distill, dict) or "method" in distill


@schemathesis.hook
def before_call(context, case, kwargs):
    """Nobody makes here what a request would wait for: the longest waits are for a second."""
    asked = (case.headers or {}).get("Prefer", "")
    if asked.startswith("wait="):
        case.headers["Prefer"] = "wait=1"
