"""Mutants of docs/guarantees.md: processes that are killed, frozen or newer than others."""

from tests.mutants.mutant import Mutant

_RUNS = "app/shared/engine/runs.py"
_JOBS = "app/shared/engine/jobs.py"
_RECONCILER = "app/shared/upkeep/reconciler.py"
_SUPERVISOR = "worker/supervisor/supervisor.py"

MUTANTS = (
    Mutant(
        "a-lost-run-s-pictures-are-shown",
        "app/shared/engine/snapshots.py",
        "                kept = [one for one in kept if one.step < own[0].step] + own\n",
        "                kept += own\n",
        ("tests/shared/engine/test_snapshots.py::test_a_lost_run_that_goes_on_replaces_nothing",),
    ),
    Mutant(
        "trainer-s-end-is-not-noticed",
        _SUPERVISOR,
        "        while run.trainer.is_open and not is_enough():",
        "        while not is_enough():",
        (
            "tests/worker/supervisor/test_supervisor.py::test_a_trainer_that_always_dies_ends_the_job",
        ),
        is_slow=True,
    ),
    Mutant(
        "lost-runs-stay-lost",
        _RECONCILER,
        "    _one_by_one(database, lost, recover_lost)\n",
        "",
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
        is_slow=True,
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
        '"attempt": jobs.c.attempt - 1, "error": why, **_at_once()',
        '"error": why, **_at_once()',
        ("tests/worker/supervisor/test_supervisor.py::test_a_drain_hands_the_job_back",),
    ),
    Mutant(
        "no-fence",
        _RUNS,
        "    return (jobs.c.fence == run.fence, jobs.c.state.in_(ACTIVE_STATES))\n",
        "    return (jobs.c.state.in_(ACTIVE_STATES),)\n",
        ("tests/chaos/test_chaos.py::test_a_zombie_is_refused",),
        is_slow=True,
    ),
    Mutant(
        "claims-of-unknown-kinds",
        _RUNS,
        "    jobs.c.kind.in_(ATOMIC_KINDS),\n",
        "",
        (
            "tests/shared/engine/test_jobs.py::"
            "test_what_a_newer_version_has_submitted_is_left_to_a_newer_worker",
        ),
    ),
    Mutant(
        "starts-are-told-after-the-end",
        _JOBS,
        "    still = (jobs.c.fence == run.fence, jobs.c.lease_until_at.is_not(None))\n",
        "    still = (jobs.c.fence == run.fence,)\n",
        ("tests/shared/engine/test_jobs.py::test_a_run_that_has_ended_tells_of_no_start",),
    ),
    Mutant(
        "pipelines-wait-for-the-reconciler",
        _JOBS,
        "    if ended.parent_id is not None:\n        settle_pipeline(",
        "    if ended.parent_id and ended.state == 'succeeded':\n        settle_pipeline(",
        (
            "tests/shared/engine/test_interleavings.py::test_every_interleaving_is_as_the_model_says[sqlite-25]",
        ),
        is_slow=True,
    ),
    Mutant(
        "running-jobs-need-no-lease",
        "migrations/versions/0008_studies.py",
        "OR lease_until_at IS NOT NULL",
        "OR kind IS NOT NULL",
        (
            "tests/shared/store/test_migrations.py::test_impossible_jobs_are_refused_by_the_database",
        ),
    ),
    Mutant(
        "submissions-are-written-in-parts",
        _JOBS,
        "    job = insert_job(connection, owner_id, composite)\n",
        "    job = insert_job(connection, owner_id, composite)\n"
        "    connection.connection.driver_connection.commit()\n",
        ("tests/api/test_killed_submission.py::test_a_submission_is_whole_or_nothing",),
        is_slow=True,
    ),
    Mutant(
        "checkpoints-forget-rollbacks",
        "ddcal_core/distillation/checkpoints.py",
        '        n_rollbacks=record["n_rollbacks"],\n',
        "        n_rollbacks=0,\n",
        ("tests/core/distillation/test_loop.py::test_a_resumed_run_ends_in_the_same_bytes",),
    ),
    Mutant(
        "killed-runs-begin-anew",
        "worker/supervisor/run_files.py",
        '        return line.model_copy(update={"checkpoint": path})\n',
        "        return line\n",
        ("tests/worker/supervisor/test_resume.py::test_a_killed_run_ends_in_the_same_bytes[dm]",),
        is_slow=True,
    ),
    Mutant(
        "dead-parts-stay-dead",
        "app/embedded/programs.py",
        "        kept.process, kept.watch = start_process(kept.program), _watch(kept.program)\n",
        "",
        (
            "tests/embedded/test_programs.py::test_dead_program_is_started_again_and_its_last_words_shown",
        ),
        is_slow=True,
    ),
    Mutant(
        "parts-outlive-serve",
        "app/embedded/children.py",
        "            dying_with_us(argv, death_signal=death_signal),\n",
        "            list(argv),\n",
        ("tests/embedded/test_children.py::test_child_dies_with_a_killed_parent",),
        is_slow=True,
    ),
    Mutant(
        "bells-take-running-jobs",
        _RUNS,
        'jobs.c.state == "queued", is_due()),\n    jobs',
        'jobs.c.state.in_(("queued", "running"))),\n    jobs',
        ("tests/shared/engine/test_runs.py::test_a_bell_too_many_finds_nothing",),
    ),
    Mutant(
        "claimers-take-what-is-taken",
        _RUNS,
        '    .with_for_update(skip_locked=True)\n)\n_CLAIMING = moving(\n    ("queued",),\n',
        ')\n_CLAIMING = moving(\n    ("queued", "running"),\n',
        (
            "tests/shared/upkeep/test_reconciler.py::test_eight_claimers_share_the_jobs_without_overlap",
        ),
    ),
)
