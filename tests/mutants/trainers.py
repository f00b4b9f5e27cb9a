"""Mutants of docs/guarantees.md: trainers that hang, die or take too much."""

from tests.mutants.mutant import Mutant

_RUNS = "app/shared/engine/runs.py"
_SUPERVISOR = "worker/supervisor/supervisor.py"
_NURSERY_TESTS = "tests/worker/supervisor/test_nursery.py"

MUTANTS = (
    Mutant(
        "late-starts-are-waited-for",
        "worker/supervisor/time_limits.py",
        "    is_late = now - trainer.started > settings.start_seconds\n",
        "    is_late = now < trainer.started\n",
        ("tests/worker/supervisor/test_starts.py::test_a_trainer_that_never_answers_is_replaced",),
        is_slow=True,
    ),
    Mutant(
        "hanging-trainers-are-left-alone",
        "worker/supervisor/time_limits.py",
        '    return "stall" if now - run.heard_at > patience else None\n',
        "    return None\n",
        ("tests/worker/supervisor/test_limits.py::test_a_job_that_always_hangs_fails_by_name",),
        is_slow=True,
    ),
    Mutant(
        "trainer-is-not-killed",
        _SUPERVISOR,
        "        return run.stop is not None and self._clock() - run.stop_asked > grace\n",
        "        return run.stop is not None and grace < 0\n",
        ("tests/worker/supervisor/test_supervisor.py::test_a_cancel_stops_the_trainer",),
        is_slow=True,
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
        is_slow=True,
    ),
    Mutant(
        "trainer-not-first-to-be-killed",
        "worker/supervisor/programs.py",
        'Path(f"/proc/{child.pid}/oom_score_adj").write_text(FIRST_TO_BE_KILLED)',
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
        "        return start_child(INTAKE_ARGV, memory_bytes=INTAKE_MEMORY_BYTES)\n",
        "        return start_child(INTAKE_ARGV)\n",
        ("tests/worker/supervisor/test_starts.py::test_an_intake_may_take_so_much_memory",),
        is_slow=True,
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
    Mutant(
        "python-runs-between-fork-and-exec",
        "worker/supervisor/programs.py",
        "        start_new_session=True,\n",
        "        preexec_fn=os.setsid,\n",
        ("tests/shared/test_processes.py::test_nobody_runs_python_between_fork_and_exec",),
    ),
    Mutant(
        "trainers-are-forked-beside-threads",
        "worker/nursery.py",
        "self._fork(stdin, stdout, line) if has_one_thread() else spawn(stdin, stdout)",
        "self._fork(stdin, stdout, line)",
        (f"{_NURSERY_TESTS}::test_beside_another_thread_none_is_forked",),
        is_slow=True,
    ),
    Mutant(
        "trainers-outlive-their-nursery",
        "worker/nursery.py",
        "    die_with(nursery, signal.SIGKILL)\n",
        "",
        (f"{_NURSERY_TESTS}::test_trainers_die_with_their_nursery_and_the_next_has_a_new_one",),
        is_slow=True,
    ),
    Mutant(
        "pids-are-given-back-at-once",
        "worker/nursery.py",
        "os.WEXITED | os.WNOHANG | os.WNOWAIT",
        "os.WEXITED | os.WNOHANG",
        (f"{_NURSERY_TESTS}::test_the_end_of_a_killed_one_is_told",),
        is_slow=True,
    ),
    Mutant(
        "one-attempt-too-many",
        _RUNS,
        "    if retry_seconds is None or run.attempt >= run.max_attempts:\n",
        "    if retry_seconds is None or run.attempt > run.max_attempts:\n",
        (
            "tests/worker/supervisor/test_supervisor.py::test_a_trainer_that_always_dies_ends_the_job",
        ),
    ),
    Mutant(
        "damaged-experts-are-kept",
        "ddcal_core/distillation/experts.py",
        "            if hashlib.sha256(file.read(layout.n_expert_bytes)).digest() != digest:\n",
        "            if not any(digest):\n",
        ("tests/core/distillation/test_experts.py::test_a_damaged_expert_is_trained_anew",),
    ),
)
