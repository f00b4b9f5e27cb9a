"""Mutants of docs/guarantees.md: a disk that is full, or loses what was not synced."""

from tests.mutants.mutant import Mutant

_SUPERVISOR = "worker/supervisor/supervisor.py"
_ARTIFACTS = "app/shared/store/artifacts.py"

MUTANTS = (
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
        "    os.fsync(writer.fileno())\n",
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
    Mutant(
        "half-written-files-stay",
        _ARTIFACTS,
        "            temporary.unlink(missing_ok=True)\n        # A new name",
        "            pass\n        # A new name",
        (
            "tests/worker/supervisor/test_faults.py::test_a_disk_that_is_full_for_a_while_costs_one_attempt",
        ),
    ),
    Mutant(
        "full-disks-have-no-name",
        _SUPERVISOR,
        '            kind = "disk_full" if error.errno == errno.ENOSPC else "worker_error"\n',
        '            kind = "worker_error" if errno.ENOSPC else "disk_full"\n',
        (
            "tests/worker/supervisor/test_faults.py::test_a_disk_that_stays_full_fails_the_job_by_name",
        ),
    ),
)
