"""Mutants of docs/guarantees.md: a database that is away, silent or asked to do wrong."""

from tests.mutants.mutant import Mutant

_SUPERVISOR = "worker/supervisor/supervisor.py"
_DATABASE = "app/shared/store/database.py"

MUTANTS = (
    Mutant(
        "watchdog-never-bites",
        "worker/supervisor/watchdog.py",
        "                elif silent < self._patience_seconds:\n",
        "                elif self._patience_seconds:\n",
        (
            "tests/worker/supervisor/test_faults.py::"
            "test_a_supervisor_kept_waiting_by_a_call_lets_go_within_the_lease",
        ),
        is_slow=True,
    ),
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
        "app/shared/store/lease_clock.py",
        "EXTRACT(EPOCH FROM clock_timestamp())",
        "{time.time()}",
        (
            "tests/worker/supervisor/test_faults.py::"
            "test_a_worker_whose_clock_is_wrong_loses_and_takes_no_job",
        ),
    ),
    Mutant(
        "beats-are-not-tried-again",
        _SUPERVISOR,
        "            return  # the watchdog has a clock of its own\n",
        "            raise\n",
        (
            "tests/worker/supervisor/test_faults.py::test_a_database_away_for_less_than_a_lease_costs_no_attempt",
        ),
    ),
    Mutant(
        "beats-that-failed-count",
        _SUPERVISOR,
        "            return  # the watchdog has a clock of its own\n",
        "            self._watchdog.hear(now)\n            return\n",
        (
            "tests/worker/supervisor/test_faults.py::test_a_database_away_for_longer_than_a_lease_costs_one_attempt",
        ),
        is_slow=True,
    ),
    Mutant(
        "bells-without-a-database-are-errors",
        _SUPERVISOR,
        '        except UnavailableError as error:\n            logger.warning("no job is claimed',
        '        except TimeoutError as error:\n            logger.warning("no job is claimed',
        (
            "tests/worker/supervisor/test_faults.py::test_a_bell_without_a_database_wakes_nobody_in_vain",
        ),
    ),
    Mutant(
        "lost-commits-are-tried-again",
        "app/api/http/shared_transactions.py",
        "        except UnavailableError as error:\n            # Whether",
        "        except StopIteration as error:\n            # Whether",
        (
            "tests/api/test_shared_transactions.py::test_a_commit_whose_answer_is_lost_is_not_tried_again",
        ),
    ),
    Mutant(
        "outages-are-errors-of-ours",
        "app/shared/store/outages.py",
        "    return error.connection_invalidated or is_away_by_driver(error.orig)\n",
        "    return error.connection_invalidated\n",
        ("tests/api/test_middleware.py::test_a_database_that_is_away_is_503",),
    ),
    Mutant(
        "jobs-move-as-they-like",
        "migrations/versions/0004_a_job_engine_that_loses_nothing.py",
        '            f"WHEN OLD.state <> NEW.state AND NOT ({pairs}) "\n',
        '            f"WHEN OLD.state <> NEW.state AND FALSE AND NOT ({pairs}) "\n',
        (
            "tests/shared/store/test_job_moves.py::test_of_all_pairs_of_states_the_database_takes_the_picture_s_alone",
        ),
    ),
)
