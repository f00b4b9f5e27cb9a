"""Mutants of what is promised about parts that hang, and about readiness."""

from tests.mutants.mutant import Mutant

_READINESS = "app/shared/upkeep/readiness.py"
_READINESS_TESTS, _SIGNS_TESTS = "tests/api/test_readiness.py", "tests/embedded/test_signs.py"
_CLOCK_TESTS = "tests/worker/supervisor/test_stepped_clock.py"

MUTANTS = (
    Mutant(
        "hanging-parts-are-left-alone",
        "app/embedded/programs.py",
        "        missing = kept.watch.missing\n",
        "        missing = None\n",
        (f"{_SIGNS_TESTS}::test_a_program_that_hangs_is_killed_and_started_again",),
    ),
    Mutant(
        "what-nobody-listened-to-is-silence",
        "app/embedded/signs.py",
        "        passed = min(now - self._looked_at, self._limit_seconds / _LEAST_LOOKS)\n",
        "        passed = now - self._looked_at\n",
        (f"{_SIGNS_TESTS}::test_what_was_not_listened_to_is_no_silence",),
    ),
    Mutant(
        "leases-of-a-former-serve-stay",
        "app/shared/engine/runs.py",
        "update(jobs).where(leased).values(lease_until_at=_LONG_AGO)",
        "update(jobs).where(leased).values(lease_until_at=jobs.c.lease_until_at)",
        ("tests/shared/engine/test_runs.py::test_leases_ended_at_a_start_are_recovered_at_once",),
    ),
    Mutant(
        "damaged-broker-files-stay",
        "app/embedded/programs.py",
        "        if not kept.watch.has_lived and status not in _KILLED:\n",
        "        if kept.watch.has_lived and status not in _KILLED:\n",
        ("tests/embedded/test_serve.py::test_a_damaged_broker_file_is_set_aside",),
    ),
    Mutant(
        "full-brokers-are-not-told-of",
        _READINESS,
        '            client.lpushx("ddcal:no-such-list", "")\n',
        "",
        (f"{_READINESS_TESTS}::test_a_full_broker_is_degraded",),
    ),
    Mutant(
        "queues-without-workers-are-not-told-of",
        _READINESS,
        "    if not unserved:\n",
        "    if unserved is not None:\n",
        (f"{_READINESS_TESTS}::test_a_queue_with_work_and_no_worker_is_degraded",),
    ),
    Mutant(
        "read-only-databases-are-ready",
        _READINESS,
        "        takes_writes = not is_read_only(database)\n",
        "        takes_writes = not is_read_only(database) or is_migrated\n",
        (f"{_READINESS_TESTS}::test_a_read_only_database_is_not_ready",),
    ),
    Mutant(
        "damaged-databases-have-no-name",
        "app/shared/store/outages.py",
        "_SQLITE_DAMAGE = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})\n",
        "_SQLITE_DAMAGE: frozenset[int] = frozenset()\n",
        (f"{_READINESS_TESTS}::test_a_damaged_database_is_said_by_name",),
    ),
    Mutant(
        "leases-step-with-the-clock",
        "app/shared/store/lease_clock.py",
        "    return _start_of_range() + time.monotonic_ns() // 1_000_000\n",
        "    return _start_of_range() + time.time_ns() // 1_000_000\n",
        (
            f"{_CLOCK_TESTS}::test_a_clock_that_steps_costs_no_attempt",
            f"{_CLOCK_TESTS}::test_a_lost_run_is_found_though_the_clock_has_stepped",
        ),
    ),
)
