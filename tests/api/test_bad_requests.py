"""Requests that are wrong in every way known, sent as raw bytes to the API on either database.

Each is refused in words (problem+json with a code), never a server error; both databases say the
same; and nothing of them is left.
"""

import contextlib
import http.client
import json
import shutil
import socket
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pytest

from app.shared.settings import Settings
from tests.api.serving import Api, running_api
from tests.servers import fresh_postgres_database
from tests.waiting import until

ID = "0" * 26
JSON = ("Content-Type: application/json",)
ZIP = ("Content-Type: application/zip",)
STREAM = ("Accept: text/event-stream",)
JOB = '{"kind": "distill", "params": {"dataset": "digits", "distill": {"images_per_class": 1}}}'


@dataclass(frozen=True)
class Bad:
    """A request as it goes over the wire, and the refusal it deserves.

    Attributes:
        target: `{art}` stands for the id of a file that is there.
        body: bytes; a tuple of them is sent in chunks.
    """

    name: str
    target: str
    status: int
    code: str
    method: str = "GET"
    headers: tuple[str, ...] = ()
    body: bytes | tuple[bytes, ...] = b""


def submission(name: str, body: str | bytes, status: int = 422, code: str = "invalid_request"):
    """A POST of a body that is declared as JSON."""
    data = body.encode() if isinstance(body, str) else body
    return Bad(f"job: {name}", "/v1/jobs", status, code, "POST", JSON, data)


def with_field(name: str, value: str) -> str:
    """A good submission with a field beside its params."""
    return f'{JOB[:-1]}, "{name}": {value}}}'


NUMBERS = {
    "NaN": "NaN", "Infinity": "Infinity", "-Infinity": "-Infinity", "1e400": "1e400",
    "-1e400": "-1e400", "boolean": "true", "string": '"1"', "float": "1.0", "half": "1.5",
    "minus": "-1", "zero": "0", "huge": "99999999999999999999999", "list": "[1]", "object": "{}",
    "minus huge": "-9223372036854775809",
}  # fmt: skip
TEXTS = {
    "lone surrogate": r'"\ud800"', "other half": r'"\udfff"', "NUL": r'"\u0000"',
    "NUL within": r'"dig\u0000its"', "number": "3", "null": "null", "boolean": "true",
    "traversal": '"../../etc/passwd"', "backslash": r'"..\\x"', "long": f'"{"x" * 60_000}"',
    "empty": '""', "newline": r'"a\nb"',
}  # fmt: skip
FIELDS = {
    "priority": ("101", "-101", "true", '"1"', "1.0", "null", "9" * 30),
    "timeout_seconds": ("0", "-1", "1e400", "2592001", '"60"', "true"),
    "stall_seconds": ("0", "NaN"),
    "reuse": ('"yes"', "1", "null"),
    "start_at": (
        '"yesterday"',
        "5",
        '"2030-01-01T00:00:00"',
        r'"\u0000"',
        '"99999-01-01T00:00Z"',
        '"2030-W01-1T00:00Z"',
        '"20300101T0000Z"',
        '"0001-01-01T00:00:00+14:00"',
        '"9998-12-31T23:00:00-02:00"',
    ),
    "expires_at": ("[]", '"1e400"', "-1"),
    "unknown": ("1", "{}"),
    "name": ("3", '""', '" x"', f'"{"x" * 101}"'),
    "tags": ("[]", '{"a b": "c"}', '{"a": null}', '{"a": "\\n"}'),
    "notes": ("3", f'"{"x" * 2001}"'),
    "kind": ('"distill"',),
}
SUBMISSIONS = [
    *(submission(f"number {k}", JOB.replace(": 1}", f": {v}}}")) for k, v in NUMBERS.items()),
    *(submission(f"text {k}", JOB.replace('"digits"', v)) for k, v in TEXTS.items()),
    *(
        submission(f"{name}={value[:20]}", with_field(name, value))
        for name, values in FIELDS.items()
        for value in values
    ),
    submission("name twice", '{"kind": "distill", "kind": "train", "params": {}}'),
    submission("name twice below", JOB.replace('"dataset"', '"dataset": "x", "dataset"')),
    submission("NUL in a name", r'{"\u0000": 1}'),
    submission("surrogate in a name", r'{"\ud800": 1}'),
    submission("a list", "[]"),
    submission("a number", "1"),
    submission("null", "null"),
    submission("no kind", "{}"),
    submission("kind of another type", '{"kind": {"a": []}, "params": {}}'),
    submission("no params", '{"kind": "distill"}'),
    submission("params a list", '{"kind": "distill", "params": []}'),
    *(
        submission(name, body, 400, "malformed_json")
        for name, body in {
            "empty": b"",
            "half": JOB[:-5],
            "deep lists": "[" * 100_000,
            "deep lists, whole": "[" * 200 + "]" * 200,
            "deep objects": '{"a":' * 100_000,
            "an integer of 5000 digits": JOB.replace(": 1}", f": {'1' * 5000}}}"),
            "UTF-16": JOB.encode("utf-16"),
            "no UTF-8": JOB.encode().replace(b"digits", b"\xff\xfe"),
            "surrogate as UTF-8": JOB.encode().replace(b"digits", b"\xed\xa0\x80"),
            "two documents": JOB + JOB,
            "comment": "/* */" + JOB,
            "form": "kind=distill",
            "gzip undeclared": b"\x1f\x8b\x08\x00\x00\x00\x00\x00",
        }.items()
    ),
]


FORM = "Content-Type: multipart/form-data; boundary=x"
PART = b'Content-Disposition: form-data; name="file"; filename="a.zip"\r\n\r\n'


def declared(name: str, *headers: str, status: int = 415, code: str = "unsupported_type"):
    """A good submission under other headers."""
    return Bad(f"headers: {name}", "/v1/jobs", status, code, "POST", headers, JOB.encode())


def upload(name: str, *headers: str, status: int, code: str, query: str = "name=mine", body=b"x"):
    """An upload that is refused."""
    return Bad(f"upload: {name}", f"/v1/datasets?{query}", status, code, "POST", headers, body)


BODIES = [
    declared("no type"),
    declared("empty type", "Content-Type:"),
    declared("text", "Content-Type: text/plain"),
    declared("form", "Content-Type: application/x-www-form-urlencoded"),
    declared("multipart", "Content-Type: multipart/form-data; boundary=x"),
    declared("almost", "Content-Type: application/jsonx"),
    declared("problem", "Content-Type: application/problem+json"),
    declared("gzip", *JSON, "Content-Encoding: gzip", code="unsupported_encoding"),
    declared("deflate, br", *JSON, "Content-Encoding: deflate, br", code="unsupported_encoding"),
    declared("long", *JSON, "Content-Length: 1000001", status=413, code="too_large"),
    declared("longer", *JSON, "Content-Length: 99999999999", status=413, code="too_large"),
    Bad("chunked, long", "/v1/jobs", 413, "too_large", "POST", JSON, (b" " * 250_000,) * 5),
    Bad("chunked, half", "/v1/jobs", 400, "malformed_json", "POST", JSON, (b'{"kind"', b":")),
    upload("no type", status=415, code="unsupported_type"),
    upload("JSON", *JSON, status=415, code="unsupported_type"),
    *(
        upload(f"multipart {name}", kind, status=status, code=code, body=body)
        for name, kind, status, code, body in (
            ("without", "Content-Type: multipart/form-data", 400, "malformed_multipart", b"x"),
            ("of nothing", FORM, 400, "malformed_multipart", b""),
            ("of no parts", FORM, 422, "no_file", b"--x--\r\n"),
            ("cut", FORM, 400, "malformed_multipart", b"--x\r\n" + PART + b"half"),
            ("garbage", FORM, 400, "malformed_multipart", b"no boundary at all"),
            ("a field", FORM, 422, "not_a_file",
             b'--x\r\nContent-Disposition: form-data; name="a"\r\n\r\n1\r\n--x--'),
            ("twice", FORM, 422, "bad_file_name", (b"--x\r\n" + PART + b"a\r\n") * 2 + b"--x--"),
            ("encoded", FORM, 422, "encoded_file",
             b"--x\r\nContent-Transfer-Encoding: base64\r\n" + PART + b"eA==\r\n--x--"),
            ("long header", FORM, 400, "malformed_multipart",
             b"--x\r\nX: " + b"y" * 9_000 + b"\r\n" + PART + b"a\r\n--x--"),
            ("no zip", FORM, 422, "invalid_data", b"--x\r\n" + PART + b"text\r\n--x--"),
            ("long", FORM, 413, "too_large", (b"--x\r\n" + PART, b"x" * 60_000, b"y" * 60_000)),
        )
    ),
    upload("gzip", *ZIP, "Content-Encoding: gzip", status=415, code="unsupported_encoding"),
    upload("long", *ZIP, "Content-Length: 9999999999", status=413, code="too_large"),
    upload("chunked, long", *ZIP, status=413, code="too_large", body=(b"x" * 60_000,) * 2),
    upload("no zip", *ZIP, status=422, code="invalid_data"),
    upload("empty", *ZIP, status=422, code="invalid_data", body=b""),
    *(
        upload(f"name {name[:20]}", *ZIP, status=422, code="invalid_parameters", query=query)
        for name, query in {
            "missing": "", "empty": "name=", "NUL": "name=%00", "traversal": "name=..%2f..%2fx",
            "dots": "name=..", "backslash": "name=..%5cx", "slash": "name=a/b",
            "long": f"name={'x' * 60_000}", "surrogate": "name=%ed%a0%80", "no UTF-8": "name=%ff",
        }.items()
    ),
    *(
        upload(f"option {query}", *ZIP, status=422, code="invalid_parameters", query=query)
        for query in (
            "name=a&resize=NaN", "name=a&resize=-1", "name=a&resize=1e400", "name=a&resize=0x10",
            "name=a&resize=99999999999999999999", "name=a&seed=true", "name=a&seed=-1",
            "name=a&test_fraction=NaN", "name=a&test_fraction=inf", "name=a&test_fraction=1",
            "name=a&test_fraction=1e400", "name=a&colour=pink", "name=a&unknown=1",
        )
    ),
    upload("named set", *ZIP, status=409, code="dataset_exists", query="name=digits"),
]  # fmt: skip

IDS = (
    *("%00", f"job_{ID[:-3]}%00", "job_" + "x" * 60_000, "x" * 60_000, "..%2f..%2fetc%2fpasswd"),
    *(f"job_{'A' * 26}", f"job_{ID}%0a", f"JOB_{ID}", "%ff", "%ed%a0%80", "job_", "%"),
    *(f"job_{ID[:-1]}%c3%a9", "job_%EF%BC%90" + ID[1:], "'%20OR%201=1%20--"),
)
PLACES = [
    *(Bad(f"id {one[:30]}", f"/v1/jobs/{one}", 404, "not_found") for one in IDS),
    *(
        Bad(f"{method} {place}", place, 404, code, method)
        for place, code in {
            f"/v1/jobs/job_{ID}": "job_not_found",
            f"/v1/models/mdl_{ID}": "model_not_found",
            f"/v1/artifacts/art_{ID}/content": "artifact_not_found",
            "/v1/datasets/%00": "dataset_not_found",
            "/v1/datasets/..%2fx": "not_found",
            "/v1/logits/nothing": "logits_not_found",
            "/v1/jobs/..": "not_found",
            "/../../etc/passwd": "not_found",
            "/v1/../v1/jobs/x/y": "not_found",
            "//v1/jobs": "not_found",
            "/v1//jobs": "not_found",
            "/v1/jobs/": "not_found",
            "/V1/jobs": "not_found",
        }.items()
        for method in ("GET",)
    ),
    Bad("delete nothing", f"/v1/jobs/job_{ID}", 404, "job_not_found", "DELETE"),
    Bad("cancel nothing", f"/v1/jobs/job_{ID}/cancel", 404, "job_not_found", "POST"),
    Bad("cancel %00", "/v1/jobs/%00/cancel", 404, "not_found", "POST"),
    Bad("delete digits", "/v1/datasets/digits", 409, "dataset_named", "DELETE"),
]
QUERIES = [
    *(
        Bad(query[:40], f"{path}?{query}", 422, "invalid_parameters")
        for path, queries in {
            "/v1/jobs": (
                "page_size=0", "page_size=-1", "page_size=201", "page_size=99999999999999999999",
                "page_size=1e2", "page_size=1.5", "page_size=NaN", "page_size=true", "page_size=",
                f"page_size={'9' * 5000}", "page_size=%00", "state=done", "state=%00", "kind=",
                "parent=x", "parent=%00", "dataset=%00", "dataset=%ff", "dataset=..%2f", "x=1",
                f"dataset={'x' * 60_000}", "page_size=1&page_size=2", "kind=train&kind=train",
                 f"page_token={'x' * 301}", "q=", f"q={'x' * 201}", "tag=%00", "tag=a:", "tag=:b",
                 "tag=a:%00", "tag=a:%0a", f"tag={'x' * 41}", f"tag=a:{'x' * 101}",
                 "&".join(f"tag=k{k}" for k in range(17)), "created_after=yesterday",
                 "created_before=2030-01-01T00:00:00", "mask_ratio=1", "mask_ratio=NaN",
                 "images_per_class=0", "method=%00", "method=DM",
            ),
            "/v1/models": (
                "page_size=-1", "page_size=99999999999999999999", "nothing=1", "sort=size",
                "max_ece=2", "min_accuracy=-1", "min_accuracy=NaN", "dataset=%00", "tag=%00",
            ),
            "/v1/reports": ("method=dm",), "/v1/expert-sets": ("sort=accuracy",),
            "/v1/datasets": ("tag=%00", "q=", "created_after=x", "page_size=1"),
            "/v1/logits": ("tag=a:",),
            f"/v1/jobs/job_{ID}/events": (
                "after=-1", "after=99999999999999999999", "after=NaN", "after=2147483648",
                "limit=-1", "limit=0", "limit=99999999999999999999", "limit=1001", "limit=true",
            ),
        }.items()
        for query in queries
    ),
    *(
        Bad(f"token {token[:20]}", f"/v1/jobs?page_token={token}", 400, "invalid_page_token")
        for token in ("x", "%00", "%ff", "%ed%a0%80", "a" * 200, "bm90aGluZw==", "=")
    ),
]  # fmt: skip


def stream(last: str):
    """A stream gone on from somewhere."""
    headers = (*STREAM, f"Last-Event-ID: {last}")
    target = f"/v1/jobs/job_{ID}/events"
    return Bad(f"last event {last[:20]}", target, 400, "invalid_last_event_id", headers=headers)


HEADERS = [
    *(stream(last) for last in ("x", "-1", "1.0", "1e3", "9" * 10, "9" * 5000, "0x1", "é", "1 2")),
    *(
        Bad(f"host {host}", "/v1/jobs", 421, "misdirected_host", headers=(f"Host: {host}",))
        for host in ("evil.example", "127.0.0.1.evil.example", "", "10.0.0.1", "127.0.0.1:x", "é")
    ),
    *(
        Bad(f"range {one[:20]}", "/v1/artifacts/{art}/content", 416, "range_not_satisfiable",
            headers=(f"Range: bytes={one}",))
        for one in ("1000-", "1000-2000", "99999999999999999999-")
    ),
    *(
        Bad(f"range {one[:20]}", "/v1/artifacts/{art}/content", 400, "malformed_range",
            headers=(f"Range: {one}",))
        for one in ("bytes=", "bytes=x-y", "bytes=5-1", "bytes=-")
    ),
    *(
        Bad(f"key {one[:20]}", "/v1/jobs", 400, "invalid_idempotency_key", "POST",
            (*JSON, f"Idempotency-Key: {one}"), JOB.encode())
        for one in ("", "x" * 256, "a b", '"', '""', "é")
    ),
]  # fmt: skip
METHODS = [
    Bad(f"{method} {target}", target, 405, "method_not_allowed", method)
    for method, target in (
        ("OPTIONS", "/v1/jobs"), ("TRACE", "/v1/jobs"), ("PUT", "/v1/jobs"),
        ("PATCH", "/v1/jobs"), ("DELETE", "/v1/jobs"), ("PROPFIND", "/v1/jobs"),
        ("POST", "/v1/artifacts/{art}/content"), ("PUT", "/healthz"), ("OPTIONS", "/readyz"),
        ("GET", f"/v1/jobs/job_{ID}/cancel"), ("HEAD", f"/v1/jobs/job_{ID}/cancel"),
    )
]  # fmt: skip


def change(name: str, body: str | bytes, status: int = 422, code: str = "invalid_request"):
    """A PATCH of a job that is not there: what is wrong with its body is told first."""
    data = body.encode() if isinstance(body, str) else body
    return Bad(f"change: {name}", f"/v1/jobs/job_{ID}", status, code, "PATCH", JSON, data)


CHANGES = [
    change("of nothing", "{}", 404, "job_not_found"),
    change("list", "[]"),
    change("unknown", '{"nam": "x"}'),
    change("state", '{"state": "succeeded"}'),
    change("broken", "{", 400, "malformed_json"),
    *(
        change(f"{name}={value[:20]}", f'{{"{name}": {value}}}')
        for name, values in {
            "name": ('""', '" x"', '"x\\n"', r'"\u0000"', "3", f'"{"x" * 101}"', r'"\u202e"'),
            "notes": ('""', r'"\u0000"', r'"\u0007"', "[]", f'"{"x" * 2001}"'),
            "tags": (
                "[]", '{"": "x"}', '{"a b": "x"}', '{"a": 3}', '{"a": ""}', '{"a:b": "x"}',
                '{"a": "x\\n"}', f'{{"{"x" * 41}": "y"}}', f'{{"a": "{"x" * 101}"}}',
            ),
        }.items()
        for value in values
    ),
    Bad("change digits", "/v1/datasets/digits", 404, "dataset_not_found", "PATCH", JSON, b"{}"),
    Bad("name of data", "/v1/datasets/x", 422, "invalid_request", "PATCH", JSON, b'{"name": "y"}'),
    Bad("change, no type", f"/v1/jobs/job_{ID}", 415, "unsupported_type", "PATCH", (), b"{}"),
]  # fmt: skip
CASES = [*CHANGES, *SUBMISSIONS, *BODIES, *PLACES, *QUERIES, *HEADERS, *METHODS]

# What is odd but has one right answer other than a refusal.
TAKEN = [
    *(
        Bad(f"known {tag[:20]}", "/v1/artifacts/{art}/content", 200, "",
            headers=(f"If-None-Match: {tag}",))
        for tag in ("x", '"', "W/", ",,,", "é", '"sha256-0"' + ', "x"' * 5000)
    ),
    Bad("many ranges", "/v1/artifacts/{art}/content", 200, "",
        headers=("Range: bytes=" + ",".join(f"{k}-{k}" for k in range(0, 2000, 2)),)),
    Bad("request id", "/healthz", 200, "", headers=("X-Request-ID: a;b",)),
    Bad("query of nobody", "/healthz?x=%00", 200, ""),
]  # fmt: skip

# What is no HTTP, or is none that a server has to answer in words: refused by the parser below us.
NO_HTTP = {
    "two lengths": b"POST /v1/jobs HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n"
    b"Content-Length: 2\r\n\r\n{}",
    "minus length": b"POST /v1/jobs HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
    "endless length": b"POST /v1/jobs HTTP/1.1\r\nHost: x\r\nContent-Length: "
    + b"9" * 40 + b"\r\n\r\n",
    "unknown method": b"FOO /v1/jobs HTTP/1.1\r\nHost: x\r\n\r\n",
    "no version": b"GET /v1/jobs\r\n\r\n",
    "other version": b"GET /v1/jobs HTTP/9.9\r\nHost: x\r\n\r\n",
    "space in the name": b"GET /v1/jobs HTTP/1.1\r\nHost : x\r\n\r\n",
    "NUL in a header": b"GET /v1/jobs HTTP/1.1\r\nHost: x\r\nX: a\0b\r\n\r\n",
    "bad chunk": b"POST /v1/jobs HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    "raw bytes in the path": b"GET /v1/jobs/\xe9% HTTP/1.1\r\nHost: x\r\n\r\n",
    "raw bytes in the query": b"GET /v1/jobs?page_token=\xe9 HTTP/1.1\r\nHost: x\r\n\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
}  # fmt: skip


@pytest.fixture(scope="module")
def apis(
    migrated_sqlite, migrated_postgres, postgres_folder, tmp_path_factory
) -> Iterator[dict[str, tuple[Api, str]]]:
    """A service on each database, with the id of a file that it has; uploads end at 100 kB."""
    folder = tmp_path_factory.mktemp("bad")
    shutil.copyfile(migrated_sqlite, folder / "ddcal.sqlite")
    with contextlib.ExitStack() as stack:
        copy = fresh_postgres_database(postgres_folder, "bad_requests", template=migrated_postgres)
        urls = {
            "sqlite": f"sqlite:///{folder / 'ddcal.sqlite'}",
            "postgresql": stack.enter_context(copy),
        }
        apis = {}
        for name, url in urls.items():
            settings = Settings(
                data_folder=folder / name, database_url=url, max_upload_bytes=100_000
            )
            apis[name] = stack.enter_context(running_api(settings)), ""
        for name, (api, _) in apis.items():
            values = {"dataset": "digits", "method": "dm", "images_per_class": 1}
            job_id, _ = api.make(
                "distill", {"dataset": "digits"}, ("distilled_set", values, {"a.json": b"x" * 100})
            )
            (artifact,) = api.client.get(f"/v1/jobs/{job_id}/artifacts").json()["items"]
            apis[name] = api, artifact["id"]
        yield apis


def wire(bad: Bad, host: str, artifact_id: str) -> bytes:
    """A request as bytes; what it does not say is said as it should be."""
    headers = list(bad.headers)
    named = {header.partition(":")[0].lower() for header in headers}
    if "host" not in named:
        headers.append(f"Host: {host}")
    if isinstance(bad.body, tuple):
        headers.append("Transfer-Encoding: chunked")
        body = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in bad.body) + b"0\r\n\r\n"
    else:
        body = bad.body
        if "content-length" not in named and (body or bad.method == "POST"):
            headers.append(f"Content-Length: {len(body)}")
    target = bad.target.replace("{art}", artifact_id)
    head = "\r\n".join([f"{bad.method} {target} HTTP/1.1", *headers, "Connection: close"])
    return head.encode() + b"\r\n\r\n" + body


def answer_to(api: Api, method: str, data: bytes) -> tuple[int, http.client.HTTPResponse, bytes]:
    """Send bytes, and read the answer to them."""
    url = api.client.base_url
    with socket.create_connection((url.host, url.port), timeout=30) as connection:
        # A refusal may come before all has been sent.
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            connection.sendall(data)
        answer = http.client.HTTPResponse(connection, method=method)
        answer.begin()
        return answer.status, answer, answer.read()


def told(bad: Bad, api: Api, artifact_id: str) -> tuple[int, str, Sequence[tuple[str, str]]]:
    """Status, code, and the fields that are pointed at; checked to be a problem."""
    url = api.client.base_url
    status, answer, body = answer_to(
        api, bad.method, wire(bad, f"{url.host}:{url.port}", artifact_id)
    )
    if status < 400:
        return status, "", ()
    assert answer.headers["content-type"] == "application/problem+json", (status, body[:300])
    assert answer.headers["x-request-id"]
    if bad.method == "HEAD":
        return status, bad.code, ()
    problem = json.loads(body)
    assert problem["status"] == status
    assert problem["detail"]
    assert len(body) < 20_000, "what was sent is not sent back"
    return status, problem["code"], [(one["pointer"], one["code"]) for one in problem["errors"]]


@pytest.mark.parametrize("bad", [*CASES, *TAKEN], ids=lambda bad: bad.name[:60])
def test_it_is_refused_in_words_alike_on_both_databases(apis, bad):
    """Each has its status and its code, the same fields are pointed at, nothing is written."""
    answers = [told(bad, api, artifact_id) for api, artifact_id in apis.values()]
    assert answers[0] == answers[1]
    assert answers[0][:2] == (bad.status, bad.code)
    if bad.code in ("invalid_request", "invalid_parameters"):
        assert answers[0][2]


@pytest.mark.parametrize("name", NO_HTTP)
def test_what_is_no_http_is_refused(apis, name):
    """By 4xx or by a closed connection; the service goes on."""
    for api, _ in apis.values():
        with contextlib.suppress(http.client.HTTPException, ConnectionError):
            status, *_ = answer_to(api, "GET", NO_HTTP[name])
            assert 400 <= status < 500
        assert api.client.get("/healthz").status_code == 200


@pytest.mark.parametrize("target", ["/v1/jobs", "/v1/datasets?name=mine", "/v1/logits?name=mine"])
def test_half_a_body_is_none(apis, target):
    """A client that goes away in the middle leaves no job, no file and no thread behind."""
    kind = "application/json" if target == "/v1/jobs" else "application/zip"
    for api, _ in apis.values():
        url = api.client.base_url
        head = f"POST {target} HTTP/1.1\r\nHost: {url.host}\r\nContent-Type: {kind}\r\n"
        with socket.create_connection((url.host, url.port)) as connection:
            connection.sendall(head.encode() + b'Content-Length: 1000\r\n\r\n{"kind": ')
        until(lambda api=api: api.uploads() == [])
        assert api.client.get("/healthz").status_code == 200


def test_nothing_of_it_is_left(apis):
    """One job each, made before; no upload, no data set, no key."""
    for api, _ in apis.values():
        assert api.n_jobs() == 1
        assert api.uploads() == []
        items = api.client.get("/v1/datasets").json()["items"]
        assert {item["source"] for item in items} == {"named"}
        assert api.client.get("/v1/logits").json()["items"] == []
