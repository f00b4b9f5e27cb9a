"""The mutants, in the order of docs/guarantees.md."""

from tests.mutants.mutant import Mutant

_RUNS, _JOBS = "app/shared/engine/runs.py", "app/shared/engine/jobs.py"
_RECONCILER, _QUEUE = "app/shared/upkeep/reconciler.py", "app/shared/engine/queue.py"
_SUPERVISOR = "worker/supervisor/supervisor.py"
_DATABASE, _ARTIFACTS = "app/shared/store/database.py", "app/shared/store/artifacts.py"
_FIRST_SCHEMA = "migrations/versions/0001_the_first_schema.py"

PROCESSES = (
    Mutant(
        "trainer-s-end-is-not-noticed",
        _SUPERVISOR,
        "        while run.trainer.is_open and not is_enough():",
        "        while not is_enough():",
        (
            "tests/worker/supervisor/test_supervisor.py::test_a_trainer_that_always_dies_ends_the_job",
        ),
    ),
    Mutant(
        "lost-runs-stay-lost",
        _RECONCILER,
        "    for job_id in lost:\n",
        "    for job_id in lost[:0]:\n",
        ("tests/shared/upkeep/test_reconciler.py::test_three_reconcilers_do_what_one_does",),
    ),
    Mutant(
        "lease-not-looked-at-again",
        _RUNS,
        "        .where(jobs.c.id == job_id, jobs.c.state.in_(ACTIVE_STATES), _is_lost())\n"
        "        .with_for_update",
        "        .where(jobs.c.id == job_id, jobs.c.state.in_(ACTIVE_STATES))\n"
        "        .with_for_update",
        ("tests/shared/engine/test_runs.py::test_a_run_heard_of_meanwhile_is_not_recovered",),
    ),
    Mutant(
        "no-parent-death-signal",
        "app/shared/launcher.py",
        "    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, death_signal)\n",
        "",
        ("tests/worker/supervisor/test_supervisor.py::test_a_trainer_dies_with_its_supervisor",),
    ),
    Mutant(
        "claim-without-a-lease",
        _RUNS,
        '    lease_until_at=db_now("lease"),\n',
        "    lease_until_at=None,\n",
        ("tests/shared/upkeep/test_reconciler.py::test_three_reconcilers_do_what_one_does",),
    ),
    Mutant(
        "keys-of-requests-are-not-unique",
        "app/shared/engine/idempotency.py",
        "    if taken.one_or_none() is not None:\n        return None\n",
        "    return None\n",
        ("tests/api/test_idempotency.py::test_twenty_at_once_make_one_job",),
    ),
    Mutant(
        "drain-counts-the-attempt",
        _RUNS,
        '"attempt": jobs.c.attempt - 1, ',
        "",
        ("tests/worker/supervisor/test_supervisor.py::test_a_drain_hands_the_job_back",),
    ),
    Mutant(
        "no-fence",
        _RUNS,
        "    return (jobs.c.fence == run.fence, jobs.c.state.in_(ACTIVE_STATES))\n",
        "    return (jobs.c.state.in_(ACTIVE_STATES),)\n",
        ("tests/chaos/test_chaos.py::test_a_zombie_is_refused",),
    ),
    Mutant(
        "claims-of-unknown-kinds",
        _RUNS,
        "    .where(jobs.c.kind.in_(ATOMIC_KINDS))\n",
        "",
        (
            "tests/shared/engine/test_jobs.py::"
            "test_what_a_newer_version_has_submitted_is_left_to_a_newer_worker",
        ),
    ),
)

TRAINERS = (
    Mutant(
        "trainer-is-not-killed",
        _SUPERVISOR,
        "        return run.stop is not None and self._clock() - run.stop_asked > grace\n",
        "        return run.stop is not None and grace < 0\n",
        ("tests/worker/supervisor/test_supervisor.py::test_a_cancel_stops_the_trainer",),
    ),
    Mutant(
        "memory-is-not-measured",
        _SUPERVISOR,
        "        if (run.trainer.memory_bytes or 0) > self._max_memory_bytes:\n",
        "        if run.trainer.memory_bytes is None:\n",
        (
            "tests/worker/supervisor/test_limits.py::"
            "test_a_job_that_eats_all_memory_is_tried_twice_and_harms_no_other",
        ),
    ),
    Mutant(
        "trainer-not-first-to-be-killed",
        "worker/supervisor/trainer_process.py",
        'Path(f"/proc/{self.pid}/oom_score_adj").write_text(FIRST_TO_BE_KILLED)',
        "pass",
        ("tests/worker/supervisor/test_limits.py::test_a_trainer_is_the_first_to_be_killed",),
    ),
    Mutant(
        "intake-without-a-memory-limit",
        "app/shared/launcher.py",
        "        resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))\n",
        "        pass\n",
        ("tests/shared/test_processes.py::test_a_child_has_the_memory_that_it_may_take",),
    ),
)

BROKER = (
    Mutant(
        "orders-forgotten-before-they-are-rung",
        _QUEUE,
        "            doorbell.ring(queue)\n",
        "            try:\n                doorbell.ring(queue)\n"
        "            except OSError:\n                pass\n",
        ("tests/shared/upkeep/test_reconciler.py::test_a_broken_bell_loses_no_ring",),
    ),
    Mutant(
        "bell-rung-once-alone",
        _RECONCILER,
        "            order_ring(connection, row.owner_id, row.queue)\n",
        "            pass\n",
        (
            "tests/shared/upkeep/test_reconciler.py::"
            "test_a_job_that_nobody_takes_is_rung_for_again_but_not_always",
        ),
    ),
    Mutant(
        "messages-may-be-pickles",
        _QUEUE,
        '        accept_content=["json"],\n',
        '        accept_content=["json", "pickle"],\n',
        ("tests/shared/engine/test_queue.py::test_no_message_is_unpickled",),
    ),
)

DATABASE = (
    Mutant(
        "commits-are-not-synced",
        _DATABASE,
        "PRAGMA synchronous=FULL",
        "PRAGMA synchronous=OFF",
        ("tests/shared/store/test_database.py::test_sqlite_syncs_each_commit",),
    ),
    Mutant(
        "sessions-wait-for-ever",
        _DATABASE,
        "-c idle_in_transaction_session_timeout=10s -c lock_timeout=3s -c statement_timeout=15s",
        "-c idle_in_transaction_session_timeout=0 -c lock_timeout=0 -c statement_timeout=0",
        ("tests/worker/supervisor/test_faults.py::test_sessions_do_not_wait_for_ever",),
    ),
    Mutant(
        "leases-by-the-worker-s-clock",
        _DATABASE,
        "EXTRACT(EPOCH FROM clock_timestamp())",
        "{time.time()}",
        (
            "tests/worker/supervisor/test_faults.py::"
            "test_a_worker_whose_clock_is_wrong_loses_and_takes_no_job",
        ),
    ),
)

DISK = (
    Mutant(
        "jobs-begun-on-a-full-disk",
        _SUPERVISOR,
        "        if has_room(self._settings):\n            return True\n",
        "        return True\n",
        ("tests/worker/supervisor/test_limits.py::test_no_job_is_begun_on_a_full_disk",),
    ),
    Mutant(
        "floor-not-kept-while-an-upload-streams",
        "app/api/http/uploads.py",
        "    require_room(settings, len(data))\n    sink.write(data)\n",
        "    sink.write(data)\n",
        ("tests/api/test_full_disk.py::test_a_disk_that_fills_up_while_an_upload_streams_is_507",),
    ),
    Mutant(
        "artifacts-are-not-synced",
        _ARTIFACTS,
        "        os.fsync(writer.fileno())\n",
        "",
        ("tests/shared/store/test_artifacts.py::test_a_file_is_on_the_disk_before_its_name",),
    ),
    Mutant(
        "folders-of-artifacts-are-not-synced",
        _ARTIFACTS,
        "        os.fsync(descriptor)\n",
        "        pass\n",
        ("tests/shared/store/test_artifacts.py::test_a_file_is_on_the_disk_before_its_name",),
    ),
    Mutant(
        "uploads-are-not-synced",
        "app/api/http/uploads.py",
        "        os.fsync(self._file.fileno())\n",
        "",
        ("tests/api/test_full_disk.py::test_an_upload_is_on_the_disk_before_it_is_answered",),
    ),
)

USERS = (
    Mutant(
        "failed-needs-are-not-heeded",
        _JOBS,
        '        if ended.state != "succeeded":\n            _give_up',
        "        if False:\n            _give_up",
        ("tests/shared/engine/test_jobs.py::test_what_waits_for_a_failed_job_fails_with_it",),
    ),
    Mutant(
        "a-cancelled-run-can-succeed",
        _RUNS,
        'source: JobState = "cancelling" if target == "cancelled" else "running"\n',
        'source: JobState = "running" if run.state == "running" else "cancelling"\n',
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
        "errors-unescaped-on-the-front-page",
        "app/api/pages.py",
        "{escape(job.error.message[:300])}",
        "{job.error.message[:300]}",
        ("tests/api/test_pages.py::test_what_users_wrote_is_text_and_no_markup",),
    ),
    Mutant(
        "data-set-names-unescaped-on-the-front-page",
        "app/api/pages.py",
        '        escape(job.dataset or ""),\n',
        '        job.dataset or "",\n',
        ("tests/api/test_pages.py::test_what_users_wrote_is_text_and_no_markup",),
    ),
)

MUTANTS = (*PROCESSES, *TRAINERS, *BROKER, *DATABASE, *DISK, *USERS)
