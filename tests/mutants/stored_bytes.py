"""Mutants of docs/guarantees.md: files whose bytes have changed."""

from tests.mutants.mutant import Mutant

_ARTIFACTS = "app/shared/store/artifacts.py"

MUTANTS = (
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
        "leases-run-out-while-files-are-read",
        "app/shared/inputs/run_inputs.py",
        "            store.verified(file, on_read=on_read)\n",
        "            store.verified(file)\n",
        (
            "tests/worker/supervisor/test_damaged_inputs.py::test_the_lease_is_prolonged_while_a_large_file_is_verified",
        ),
    ),
    Mutant(
        "damaged-results-end-the-job",
        "worker/supervisor/run_files.py",
        "        except (DamagedFileError, FileNotFoundError, ValueError) as error:\n",
        "        except (FileNotFoundError, ValueError) as error:\n",
        (
            "tests/worker/supervisor/test_reuse.py::test_what_is_made_of_a_set_computed_anew_is_taken_over",
        ),
    ),
    Mutant(
        "results-are-taken-over-in-part",
        "worker/supervisor/reuse.py",
        "    for file in finished.files:\n"
        "        store.verified(file, on_read=on_read)\n"
        "    new_ids",
        "    new_ids",
        (
            "tests/worker/supervisor/test_reuse.py::test_of_results_with_a_damaged_file_no_other_is_linked",
        ),
    ),
    Mutant(
        "what-was-left-stays",
        _ARTIFACTS,
        "        temporary = _temporary(folder)\n        try:\n            # A file here",
        "        if (folder / file.sha256).exists():\n"
        "            return\n"
        "        temporary = _temporary(folder)\n"
        "        try:\n"
        "            # A file here",
        (
            "tests/worker/supervisor/test_reuse.py::test_what_an_earlier_attempt_has_left_damaged_is_replaced",
        ),
    ),
    Mutant(
        "stored-results-give-no-beat",
        "worker/supervisor/run_records.py",
        "            on_read()\n",
        "",
        (
            "tests/worker/supervisor/test_faults.py::test_the_lease_is_prolonged_while_a_large_result_is_stored",
        ),
    ),
    Mutant(
        "runs-share-a-temporary-name",
        _ARTIFACTS,
        'f".{secrets.token_hex(8)}"',
        'f".{os.getpid()}"',
        (
            "tests/shared/store/test_artifacts.py::test_two_runs_of_equal_pids_do_not_write_one_file",
        ),
    ),
    Mutant(
        "what-cannot-be-removed-ends-the-round",
        "app/shared/upkeep/housekeeping.py",
        "waste.name, error)\n        return False\n",
        "waste.name, error)\n        raise\n",
        (
            "tests/shared/upkeep/test_housekeeping.py::test_what_cannot_be_removed_or_looked_for_keeps_nothing_else",
        ),
    ),
    Mutant(
        "rounds-of-scrubbing-have-no-end",
        "app/shared/upkeep/scrubbing.py",
        "            if n_left <= 0 or is_stopping():\n",
        "            if is_stopping():\n",
        (
            "tests/shared/upkeep/test_scrubbing.py::test_a_round_reads_so_many_bytes_and_the_next_goes_on",
        ),
    ),
    Mutant(
        "damage-is-not-counted",
        "app/api/metrics.py",
        "            len(self._scrubber.damaged),\n",
        "            0,\n",
        ("tests/api/test_metrics.py::test_damage_that_housekeeping_finds_is_counted",),
    ),
    Mutant(
        "check-exits-0",
        "app/check.py",
        '            n_damaged += 1\n            tell("damaged", str(looked))',
        '            tell("damaged", str(looked))',
        ("tests/test_check.py::test_a_damaged_file_is_named",),
    ),
    Mutant(
        "sqlite-does-not-check-itself",
        "app/shared/store/integrity.py",
        '    complaints = [str(line) for line in said if line != "ok"]\n',
        "    complaints = [str(line) for line in said if not line]\n",
        ("tests/shared/store/test_integrity.py::test_an_index_that_lacks_a_row_is_found",),
    ),
    Mutant(
        "rows-of-postgresql-are-not-read",
        "app/shared/store/integrity.py",
        "SELECT count(r::text)",
        "SELECT count(*)",
        ("tests/shared/store/test_integrity.py::test_rows_that_postgresql_cannot_read_are_found",),
    ),
    Mutant(
        "a-damaged-export-stays",
        "app/api/exports.py",
        "        except DamagedFileError:\n",
        "        except ZeroDivisionError:\n",
        ("tests/api/test_exports.py::test_a_damaged_format_is_made_anew[sqlite]",),
    ),
)
