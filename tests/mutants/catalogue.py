"""The mutants, in the order of docs/guarantees.md."""

from tests.mutants.liveness import LIVENESS
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
        '    lease_until_at=lease_now("lease"),\n',
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
        "limits-of-memory-are-not-set",
        "app/shared/launcher.py",
        "        resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))\n",
        "        pass\n",
        ("tests/shared/test_processes.py::test_the_address_space_is_limited",),
    ),
    Mutant(
        "intake-started-without-its-limit",
        "worker/supervisor/trainer_process.py",
        "        return TrainerProcess(INTAKE_ARGV, memory_bytes=INTAKE_MEMORY_BYTES)\n",
        "        return TrainerProcess(INTAKE_ARGV)\n",
        ("tests/worker/supervisor/test_starts.py::test_an_intake_may_take_so_much_memory",),
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

SILENCE = (
    Mutant(
        "late-starts-are-waited-for",
        "worker/supervisor/time_limits.py",
        "    is_late = now - trainer.started > settings.start_seconds\n",
        "    is_late = now < trainer.started\n",
        ("tests/worker/supervisor/test_starts.py::test_a_trainer_that_never_answers_is_replaced",),
    ),
    Mutant(
        "hanging-trainers-are-left-alone",
        "worker/supervisor/time_limits.py",
        '    return "stall" if now - run.heard_at > patience else None\n',
        "    return None\n",
        ("tests/worker/supervisor/test_limits.py::test_a_job_that_always_hangs_fails_by_name",),
    ),
    Mutant(
        "watchdog-never-bites",
        "worker/supervisor/watchdog.py",
        "                elif silent < self._patience_seconds:\n",
        "                elif self._patience_seconds:\n",
        (
            "tests/worker/supervisor/test_faults.py::"
            "test_a_supervisor_kept_waiting_by_a_call_lets_go_within_the_lease",
        ),
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
)

BYTES = (
    Mutant(
        "damaged-files-are-served",
        "app/api/artifacts.py",
        "        path = service.store.verified(artifact)\n",
        "        path = service.store.path(artifact.job_id, artifact.sha256)\n",
        ("tests/api/test_damaged_files.py::test_a_flipped_bit_is_never_served",),
    ),
    Mutant(
        "changed-times-are-not-looked-at",
        "app/shared/store/verification.py",
        "            if seen is None or seen != _as_seen(status, seen.sha256):\n",
        "            if seen is None:\n",
        (
            "tests/shared/store/test_verification.py::"
            "test_a_change_is_seen_by_a_process_that_has_verified_the_file",
        ),
    ),
    Mutant(
        "damaged-inputs-are-read",
        "app/shared/inputs/run_inputs.py",
        "        for file in self.files:\n            store.verified(file, on_read=on_read)\n",
        "        del store\n",
        (
            "tests/worker/supervisor/test_damaged_inputs.py::"
            "test_a_job_fails_by_each_damaged_file_that_it_reads",
        ),
    ),
    Mutant(
        "damaged-uploads-are-checked",
        "app/shared/inputs/run_inputs.py",
        "            if damage is not None:\n                raise",
        "            if damage is on_read:\n                raise",
        ("tests/worker/supervisor/test_damaged_inputs.py::test_a_damaged_upload_is_not_checked",),
    ),
    Mutant(
        "damaged-results-are-taken-over",
        "app/shared/store/verification.py",
        "        return None if found == sha256 else",
        "        return None if found != sha256[:1] else",
        ("tests/worker/supervisor/test_reuse.py::test_damaged_results_are_computed_anew",),
    ),
    Mutant(
        "damaged-checkpoints-are-read",
        "ddcal_core/distillation/checkpoints.py",
        "    if got != wanted:\n        raise InvalidDataError(\n"
        '            f"wanted a checkpoint of sha256',
        "    if not got:\n        raise InvalidDataError(\n"
        '            f"wanted a checkpoint of sha256',
        ("tests/core/distillation/test_loop.py::test_a_byte_changed_anywhere_is_refused",),
    ),
)

ACCESS = (
    Mutant(
        "short-keys-are-taken",
        "app/shared/settings.py",
        "    if len(text.strip()) < MIN_KEY_LENGTH:\n",
        "    if len(text) < 0:\n",
        (
            "tests/shared/test_settings.py::"
            "test_a_key_that_anyone_could_guess_or_nobody_could_send_is_refused",
        ),
    ),
    Mutant(
        "keys-compared-by-equality",
        "app/api/http/api_key.py",
        '        return hmac.compare_digest(given.encode("utf-8", "surrogatepass"), self._text)\n',
        '        return given.encode("utf-8", "surrogatepass") == self._text\n',
        ("tests/api/test_api_key.py::test_keys_are_compared_in_constant_time",),
    ),
    Mutant(
        "pages-of-other-sites-may-change",
        "app/api/http/access.py",
        '        return site not in ("same-origin", "none")\n',
        "        return False\n",
        ("tests/api/test_access.py::test_changes_of_another_site_are_refused",),
    ),
    Mutant(
        "the-data-folder-stays-open",
        "app/shared/startup.py",
        "        os.chmod(path, stat.S_IMODE(mode) & ~_OTHERS)",
        "        os.chmod(path, stat.S_IMODE(mode))",
        ("tests/shared/test_startup.py::test_what_stood_open_is_closed",),
    ),
)

MUTANTS = (
    *PROCESSES,
    *TRAINERS,
    *SILENCE,
    *BROKER,
    *DATABASE,
    *DISK,
    *BYTES,
    *USERS,
    *ACCESS,
    *LIVENESS,
)
