"""Mutants of docs/guarantees.md: what users do."""

from tests.mutants.mutant import Mutant

_RUNS = "app/shared/engine/runs.py"
_JOBS = "app/shared/engine/jobs.py"

MUTANTS = (
    Mutant(
        "uploads-wait-for-each-other",
        "app/embedded/parts.py",
        "settings.intakes if queues == INTAKE_QUEUE else 1",
        "1",
        ("tests/test_programs.py::test_a_worker_of_uploads_checks_several_at_once",),
    ),
    Mutant(
        "failed-needs-are-not-heeded",
        _JOBS,
        '        if ended.state != "succeeded" and not row.is_soft:\n            _give_up',
        "        if False:\n            _give_up",
        ("tests/shared/engine/test_jobs.py::test_what_waits_for_a_failed_job_fails_with_it",),
    ),
    Mutant(
        "comparisons-need-every-report",
        _JOBS,
        'ended.state != "succeeded" and not row.is_soft:',
        'ended.state != "succeeded":',
        ("tests/api/test_studies.py::test_a_study_of_which_some_cells_fail_is_partial",),
    ),
    Mutant(
        "twins-compute-both",
        "worker/supervisor/run_records.py",
        "    if other_id is not None and runs",
        "    if False and runs",
        (
            "tests/worker/supervisor/test_reuse.py::"
            "test_of_two_alike_at_once_the_second_takes_over_the_first_s_results",
        ),
    ),
    Mutant(
        "a-cancelled-run-can-succeed",
        _RUNS,
        "    moved = move(connection, run.id, (source,), target, *_holds(run), **leave)\n",
        "    moved = move(connection, run.id, ACTIVE_STATES, target, *_holds(run), **leave)\n",
        ("tests/shared/engine/test_jobs.py::test_a_cancelling_run_cannot_succeed",),
    ),
    Mutant(
        "jobs-start-before-their-time",
        _JOBS,
        "    return or_(jobs.c.not_before_at.is_(None), jobs.c.not_before_at <= db_now())\n",
        "    return or_(jobs.c.not_before_at.is_(None), jobs.c.id.is_not(None))\n",
        (
            "tests/shared/engine/test_deadlines.py::"
            "test_a_job_for_later_is_scheduled_then_queued_and_rung_for",
        ),
    ),
    Mutant(
        "nothing-expires",
        "app/shared/engine/deadlines.py",
        "    return and_(jobs.c.expires_at < db_now(), jobs.c.started_at.is_(None))\n",
        "    return and_(jobs.c.expires_at.is_(None), jobs.c.expires_at.is_not(None))\n",
        ("tests/shared/engine/test_deadlines.py::test_a_job_that_has_not_started_in_time_expires",),
    ),
    Mutant(
        "attempts-of-other-owners",
        "app/shared/store/job_queries.py",
        "attempts.c.owner_id == owner_id, attempts.c.job_id == job_id",
        "attempts.c.job_id == job_id",
        ("tests/shared/engine/test_runs.py::test_attempts_are_shown_to_their_owner_alone",),
    ),
    Mutant(
        "pages-escape-nothing",
        "app/web/rendering.py",
        "    autoescape=True,\n",
        "    autoescape=False,\n",
        ("tests/web/test_pages.py::test_what_users_wrote_is_text_and_no_markup",),
    ),
    Mutant(
        "cancels-of-lost-runs-stay",
        _RUNS,
        '    if run.state == "cancelling":\n        return _end_run',
        '    if run.state == "cancelled":\n        return _end_run',
        (
            "tests/shared/upkeep/test_reconciler.py::test_a_cancel_whose_supervisor_is_gone_ends",
            "tests/shared/upkeep/test_reconciler.py::test_a_cancel_that_takes_too_long_ends",
        ),
    ),
    Mutant(
        "one-failure-fails-all",
        "app/api/http/shared_transactions.py",
        "            return [outcome for one in ready for outcome in self._together([one])]\n",
        "            return [(call, None, error) for call, _ in ready]\n",
        ("tests/api/test_shared_transactions.py::test_what_fails_takes_nothing_from_the_others",),
    ),
    Mutant(
        "streams-begin-anew",
        "app/api/job_events.py",
        "    return int(last)\n",
        "    return after\n",
        ("tests/api/test_event_stream.py::test_a_stream_goes_on_where_the_client_has_been",),
    ),
    Mutant(
        "exports-look-without-a-lock",
        "app/shared/engine/exports.py",
        "    locked_job(connection, owner_id, result.job_id)\n",
        "    assert result.job_id\n",
        ("tests/api/test_exports.py::test_requests_at_once_begin_one_job[postgresql]",),
    ),
    Mutant(
        "exports-outlive-their-result",
        "app/shared/engine/deletion.py",
        "    ids += _exports_of(connection, ids)\n",
        "    ids += ()\n",
        ("tests/api/test_exports.py::test_formats_go_with_their_result[sqlite]",),
    ),
)
