"""What has to hold once all is quiet: each invariant a query that gives the rows that break it.

The driver writes what it saw from outside into three tables beside the engine's own:

- chaos_submissions: each submission by a number, which its job carries as timeout_seconds, and the
  job a client was answered with, if it was answered;
- chaos_cancels: each cancel that a client was told is under way or done;
- chaos_leases: the latest lease seen of each run.

The SQL is plain enough for SQLite and PostgreSQL alike.
"""

import hashlib
from collections.abc import Iterator
from pathlib import Path

from sqlalchemy import BigInteger, Connection, select, text, type_coerce

from app.shared.settings import Settings
from app.shared.store.database import db_now
from app.shared.store.lease_clock import lease_now

TABLES = (
    "CREATE TABLE chaos_submissions (number INTEGER PRIMARY KEY, job_id VARCHAR(40))",
    "CREATE TABLE chaos_cancels (job_id VARCHAR(40) NOT NULL)",
    "CREATE TABLE chaos_leases (job_id VARCHAR(40) NOT NULL, fence INTEGER NOT NULL, "
    "until_at BIGINT NOT NULL, PRIMARY KEY (job_id, fence))",
)
SEE_LEASES = (
    "INSERT INTO chaos_leases (job_id, fence, until_at) "
    "SELECT id, fence, lease_until_at + :offset FROM jobs WHERE lease_until_at IS NOT NULL "
    "ON CONFLICT (job_id, fence) DO UPDATE SET until_at = excluded.until_at"
)
_CLOCKS_DIFFER_MS = 5  # read one after the other, each in whole milliseconds

_ENDED = "('succeeded', 'failed', 'cancelled', 'expired')"
_RESULTS = " UNION ALL ".join(
    f"SELECT job_id, id, CAST(details ->> 'fence' AS INTEGER) AS fence, "
    f"details ->> 'recipe' AS recipe FROM {table}"
    for table in ("distilled_sets", "models", "calibrations", "reports")
)

INVARIANTS = {
    "every job has ended": f"SELECT id, state FROM jobs WHERE state NOT IN {_ENDED}",
    "no job that a client was told of is missing": (
        "SELECT s.number, s.job_id FROM chaos_submissions s LEFT JOIN jobs j ON j.id = s.job_id "
        "WHERE s.job_id IS NOT NULL AND j.id IS NULL"
    ),
    "a submission sent again is one job": (
        "SELECT timeout_seconds AS number, COUNT(*) AS n FROM jobs WHERE parent_id IS NULL "
        "GROUP BY timeout_seconds HAVING COUNT(*) > 1"
    ),
    "a key leads to a job": (
        "SELECT k.key, k.resource_id FROM idempotency_keys k LEFT JOIN jobs j "
        "ON j.id = k.resource_id WHERE j.id IS NULL"
    ),
    "a job ends once, as its state says": (
        "SELECT j.id, j.state, COUNT(e.seq) AS n, MAX(e.data ->> 'state') AS told FROM jobs j "
        "LEFT JOIN events e ON e.job_id = j.id AND e.type = 'state' "
        f"AND e.data ->> 'state' IN {_ENDED} WHERE j.state IN {_ENDED} GROUP BY j.id, j.state "
        "HAVING COUNT(e.seq) <> 1 OR MAX(e.data ->> 'state') <> j.state"
    ),
    "nothing is told after the end": (
        "SELECT e.job_id, e.seq, later.seq AS later_seq, later.type FROM events e "
        "JOIN events later ON later.job_id = e.job_id AND later.seq > e.seq "
        f"WHERE e.type = 'state' AND e.data ->> 'state' IN {_ENDED}"
    ),
    "events are numbered 1 to n": (
        "SELECT j.id, j.n_events, COUNT(e.seq) AS n, MIN(e.seq) AS first, MAX(e.seq) AS last "
        "FROM jobs j LEFT JOIN events e ON e.job_id = j.id GROUP BY j.id, j.n_events "
        "HAVING COUNT(e.seq) <> j.n_events OR MIN(e.seq) <> 1 OR MAX(e.seq) <> j.n_events"
    ),
    "each claim is an attempt, its fence one higher": (
        "SELECT j.id, j.fence, COUNT(a.fence) AS n, MAX(a.fence) AS last FROM jobs j "
        "LEFT JOIN attempts a ON a.job_id = j.id GROUP BY j.id, j.fence "
        "HAVING COUNT(a.fence) <> j.fence OR COALESCE(MAX(a.fence), 0) <> j.fence"
    ),
    "attempts are counted but for released ones, and bounded": (
        "SELECT j.id, j.attempt, j.max_attempts FROM jobs j WHERE j.attempt > j.max_attempts OR "
        "j.attempt <> (SELECT COUNT(*) FROM attempts a WHERE a.job_id = j.id "
        "AND (a.outcome IS NULL OR a.outcome <> 'released'))"
    ),
    "no attempt is left open": (
        "SELECT a.job_id, a.fence FROM attempts a JOIN jobs j ON j.id = a.job_id "
        f"WHERE j.state IN {_ENDED} AND (a.ended_at IS NULL OR a.outcome IS NULL)"
    ),
    "one attempt has ended before the next begins": (
        "SELECT a.job_id, a.fence FROM attempts a JOIN attempts b ON b.job_id = a.job_id "
        "AND b.fence = a.fence + 1 WHERE a.ended_at IS NULL OR a.ended_at > b.started_at"
    ),
    "the last attempt alone has succeeded, and only of a job that has": (
        "SELECT a.job_id, a.fence, a.outcome, j.fence AS last, j.state FROM attempts a "
        "JOIN jobs j ON j.id = a.job_id "
        "WHERE (a.outcome = 'succeeded') <> (j.state = 'succeeded' AND a.fence = j.fence)"
    ),
    "no run is taken for lost within its lease": (
        "SELECT a.job_id, a.fence, a.ended_at, l.until_at FROM attempts a JOIN chaos_leases l "
        "ON l.job_id = a.job_id AND l.fence = a.fence JOIN jobs j ON j.id = a.job_id "
        "WHERE a.outcome = 'lost' AND a.ended_at < l.until_at AND j.state <> 'cancelled'"
    ),
    "no lease is left": (
        "SELECT id, state, lease_owner FROM jobs "
        "WHERE lease_owner IS NOT NULL OR lease_until_at IS NOT NULL"
    ),
    "results are of the run that won": (
        f"SELECT r.job_id, r.id, r.fence, j.fence AS won FROM ({_RESULTS}) r "
        "JOIN jobs j ON j.id = r.job_id "
        "WHERE j.state <> 'succeeded' OR (j.reused_from IS NULL AND r.fence <> j.fence)"
    ),
    "a job that succeeded has its result, once": (
        f"SELECT j.id, j.kind, COUNT(r.id) AS n FROM jobs j LEFT JOIN ({_RESULTS}) r "
        "ON r.job_id = j.id WHERE j.state = 'succeeded' AND j.kind <> 'pipeline' "
        "GROUP BY j.id, j.kind HAVING COUNT(r.id) <> 1"
    ),
    "every result has its files, and no file is without one": (
        f"SELECT r.job_id, r.id, a.id AS file FROM ({_RESULTS}) r "
        "LEFT JOIN artifacts a ON a.resource_id = r.id WHERE a.id IS NULL UNION ALL "
        f"SELECT a.job_id, r.id, a.id AS file FROM artifacts a "
        f"LEFT JOIN ({_RESULTS}) r ON r.id = a.resource_id WHERE r.id IS NULL"
    ),
    "the same recipe gives the same bytes": (
        f"SELECT r.recipe, a.name, COUNT(DISTINCT a.sha256) AS n FROM ({_RESULTS}) r "
        "JOIN artifacts a ON a.resource_id = r.id GROUP BY r.recipe, a.name "
        "HAVING COUNT(DISTINCT a.sha256) > 1"
    ),
    "a cancel that was acknowledged is not followed by a success": (
        "SELECT j.id, j.state FROM chaos_cancels c JOIN jobs j ON j.id = c.job_id "
        "WHERE j.state = 'succeeded'"
    ),
    "a pipeline is what its children are": (
        "SELECT p.id, p.state, COUNT(c.id) AS n FROM jobs p JOIN jobs c ON c.parent_id = p.id "
        "GROUP BY p.id, p.state HAVING p.state <> CASE "
        "WHEN SUM(CASE WHEN c.state = 'failed' THEN 1 ELSE 0 END) > 0 THEN 'failed' "
        "WHEN SUM(CASE WHEN c.state = 'succeeded' THEN 0 ELSE 1 END) > 0 THEN 'cancelled' "
        "ELSE 'succeeded' END"
    ),
    "a job that succeeded had all it needs": (
        "SELECT j.id, n.id AS needs, n.state FROM jobs j JOIN job_deps d ON d.job_id = j.id "
        "JOIN jobs n ON n.id = d.needs_job_id "
        "WHERE j.state = 'succeeded' AND n.state <> 'succeeded'"
    ),
    # No stand-in trainer fails of itself, and there are attempts enough for every fault.
    "no job fails": "SELECT id, error FROM jobs WHERE state = 'failed'",
    "every ring has been passed on": "SELECT id, queue FROM outbox",
}


def see_leases(connection: Connection) -> None:
    """Keep the latest lease of each run, by the time of day at which attempts end."""
    clocks = select(type_coerce(db_now(), BigInteger), type_coerce(lease_now(), BigInteger))
    day, lease = connection.execute(clocks).one()
    connection.execute(text(SEE_LEASES), {"offset": day - lease - _CLOCKS_DIFFER_MS})


def broken(connection: Connection) -> dict[str, list[str]]:
    """The invariants that do not hold, each with the rows that break it."""
    found = {}
    for name, query in INVARIANTS.items():
        rows = [str(dict(row)) for row in connection.execute(text(query)).mappings()]
        if rows:
            found[name] = rows
    return found


def broken_files(connection: Connection, settings: Settings) -> dict[str, list[str]]:
    """Files that are not what their rows say, and files that a quiet service has no more."""
    found = {
        "every artifact is there, with its bytes": list(_damaged(connection, settings)),
        "nothing temporary is left": [str(path) for path in _leftovers(settings)],
        "no file is without a row": list(_strays(connection, settings)),
    }
    return {name: rows for name, rows in found.items() if rows}


def _damaged(connection: Connection, settings: Settings) -> Iterator[str]:
    for row in connection.execute(text("SELECT job_id, name, sha256, n_bytes FROM artifacts")):
        path = settings.artifact_folder / row.job_id / row.sha256
        data = path.read_bytes() if path.exists() else b""
        if (len(data), hashlib.sha256(data).hexdigest()) != (row.n_bytes, row.sha256):
            yield f"{row.name} of {row.job_id}: {path}"


def _strays(connection: Connection, settings: Settings) -> Iterator[str]:
    rows = connection.execute(text("SELECT job_id, sha256 FROM artifacts"))
    named = {(row.job_id, row.sha256) for row in rows}
    for path in settings.artifact_folder.glob("*/*"):
        if (path.parent.name, path.name) not in named:
            yield str(path)


def _leftovers(settings: Settings) -> Iterator[Path]:
    # Not run/: a worker killed while it drains leaves its empty drain file, of a name of its own.
    for folder in (settings.work_folder, settings.upload_folder):
        if folder.exists():
            yield from folder.iterdir()
    yield from settings.checkpoint_folder.glob("*/.*")
