"""Mutants of docs/guarantees.md: what a job's process reaches."""

from tests.mutants.mutant import Mutant

_CONFINEMENT = "ddcal_core/intake/sandbox/confinement.py"
_LANDLOCK = "ddcal_core/intake/sandbox/landlock.py"
_SYSTEM_CALLS = "ddcal_core/intake/sandbox/system_calls.py"
_RUN_FILES = "worker/supervisor/run_files.py"
_CONFINEMENT_TESTS = "tests/core/intake/sandbox/test_confinement.py"
_ALONE = (f"{_CONFINEMENT_TESTS}::test_a_confined_process_reaches_nothing_but_its_own",)
_OLDER = (f"{_CONFINEMENT_TESTS}::test_what_an_older_kernel_lacks_is_told",)
_JOBS_TESTS = "tests/worker/supervisor/test_confined_jobs.py"

MUTANTS = (
    Mutant(
        "gzips-inflate-without-end",
        "ddcal_core/intake/archives.py",
        "                if n_bytes > max_bytes:\n",
        "                if n_bytes < 0:\n",
        ("tests/core/intake/test_bad_files.py::test_a_bad_file_is_refused_in_words[tar-bomb]",),
    ),
    Mutant(
        "pickles-name-what-they-like",
        "ddcal_core/intake/structure/plain_pickle.py",
        "    if full not in _KNOWN and not is_storage:\n",
        "    if not full:\n",
        (
            "tests/core/intake/test_bad_files.py::test_a_bad_file_is_refused_in_words[cifar-executes]",
        ),
    ),
    Mutant(
        "jobs-are-not-confined",
        "ddcal_core/intake/job_channel.py",
        "        _confine_to(job)\n",
        "        job.work_folder.mkdir(exist_ok=True)\n",
        (f"{_JOBS_TESTS}::test_each_job_s_process_confines_itself",),
    ),
    Mutant(
        "files-are-open",
        _LANDLOCK,
        "        _call(_RESTRICT_SELF, ruleset, 0)\n",
        "        pass\n",
        _ALONE,
    ),
    Mutant(
        "other-processes-can-be-signalled",
        _LANDLOCK,
        "_ABSTRACT_SOCKETS_AND_SIGNALS if known_abi >= SCOPES_SINCE else 0",
        "0",
        _ALONE,
    ),
    Mutant(
        "sockets-are-open",
        _CONFINEMENT,
        "        system_calls.refuse(sockets=not needs.network)\n",
        "        system_calls.refuse(sockets=False)\n",
        _ALONE,
    ),
    Mutant(
        "processes-have-children",
        _SYSTEM_CALLS,
        "        _does(_IF_EQUAL, _CLONE_THREAD, then=1),\n",
        "        _does(_IF_AT_LEAST, 0, then=1),\n",
        _ALONE,
    ),
    Mutant(
        "root-keeps-its-capabilities",
        _CONFINEMENT,
        "    _drop_privileges()\n",
        "",
        _ALONE,
    ),
    Mutant(
        "memory-is-left-when-it-crashes",
        _CONFINEMENT,
        "    _lower(resource.RLIMIT_CORE, 0)\n",
        "",
        _ALONE,
    ),
    Mutant(
        "files-grow-without-end",
        _CONFINEMENT,
        "        _lower(resource.RLIMIT_FSIZE, max_file_bytes)\n",
        "        pass\n",
        _ALONE,
    ),
    Mutant(
        "tcp-is-open-without-seccomp",
        _LANDLOCK,
        "_BIND_AND_CONNECT if denies_tcp and known_abi >= TCP_SINCE else 0",
        "0",
        _OLDER,
    ),
    Mutant(
        "nobody-is-told-what-is-lacking",
        _CONFINEMENT,
        "    return tuple(found)\n",
        "    return ()\n",
        _OLDER,
    ),
    Mutant(
        "every-job-has-the-network",
        "ddcal_core/intake/sandbox/job_needs.py",
        "        network=bool(fetching),\n",
        "        network=True,\n",
        (f"{_CONFINEMENT_TESTS}::test_only_a_job_that_may_fetch_its_data_has_a_network",),
    ),
    Mutant(
        "foreign-files-become-results",
        _RUN_FILES,
        "    return path.is_file() and _lies_in(path, folder)\n",
        "    return path.is_file()\n",
        (f"{_JOBS_TESTS}::test_a_result_that_is_not_the_run_s_own_is_refused",),
    ),
    Mutant(
        "foreign-files-become-inputs",
        _RUN_FILES,
        "        self._require_stored(paths_in(inputs))\n",
        "",
        (f"{_JOBS_TESTS}::test_an_upload_that_lies_elsewhere_is_not_given_away",),
    ),
    Mutant(
        "trainers-inherit-the-environment",
        "worker/supervisor/programs.py",
        "if name.upper().startswith(PASSED_ON)",
        'if not name.startswith("DDCAL_")',
        (
            "tests/worker/supervisor/test_supervisor.py::test_a_trainer_sees_no_settings_of_the_service",
        ),
    ),
    Mutant(
        "foreign-operators-are-taken",
        "ddcal_core/formats/onnx_checks.py",
        "        if node.domain not in _STANDARD:\n",
        "        if node.domain is None:\n",
        ("tests/core/formats/test_onnx_checks.py::test_each_fault_has_its_words",),
    ),
    Mutant(
        "weights-in-other-files-are-taken",
        "ddcal_core/formats/onnx_checks.py",
        "    if tensor.external_data or tensor.data_location == TensorProto.EXTERNAL:\n",
        "    if tensor is None:\n",
        ("tests/core/formats/test_onnx_checks.py::test_each_fault_has_its_words",),
    ),
    Mutant(
        "networks-of-any-size-are-taken",
        "ddcal_core/formats/onnx_checks.py",
        "        if math.prod(sizes) > MAX_NUMBERS:\n",
        "        if math.prod(sizes) < 0:\n",
        ("tests/core/formats/test_onnx_checks.py::test_each_fault_has_its_words",),
    ),
    Mutant(
        "onnx-runtime-reports-to-its-maker",
        "ddcal_core/formats/onnx_sessions.py",
        'os.environ["ORT_DISABLE_TELEMETRY"] = "1"\n',
        'os.environ["ORT_DISABLE_TELEMETRY"] = "0"\n',
        ("tests/core/formats/test_onnx_sessions.py::test_it_reports_to_nobody",),
    ),
    Mutant(
        "onnx-files-are-not-compared",
        "ddcal_core/formats/onnx_models.py",
        "    compare_with_onnx(held, whole, space.facts.image_shape, {1, _N_TRIED})\n",
        "",
        ("tests/core/formats/test_onnx_models.py::test_other_answers_are_no_file",),
    ),
    Mutant(
        "too-much-memory-is-no-refusal",
        "worker/trainer/kinds/import_network.py",
        "    except MemoryError as error:\n",
        "    except RecursionError as error:\n",
        (
            "tests/worker/trainer/test_imported_networks.py"
            "::test_what_cannot_be_asked_is_refused_in_words",
        ),
    ),
)
