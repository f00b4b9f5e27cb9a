"""Trainers forked from a process that has loaded torch: their ends, and the nursery's own."""

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from ddcal_core.intake.job_messages import JobLine, Outputs, Ready
from tests.waiting import has_ended, until
from tests.worker.small_jobs import distill_params, write_dataset
from worker.supervisor import nursery as nursery_module
from worker.supervisor.nursery import NURSERY_ARGV, ForkedTrainer, Nursery
from worker.supervisor.trainer_process import TrainerProcess

pytestmark = [pytest.mark.trainer, pytest.mark.long]

LOAD_SECONDS = 120
WITH_A_THREAD = (
    "import sys, threading; from worker import nursery; "
    "threading.Thread(target=threading.Event().wait, daemon=True).start(); nursery.main()"
)


@pytest.fixture(scope="module")
def nursery() -> Iterator[Nursery]:
    """One for all tests that leave it alive."""
    made = Nursery()
    yield made
    made.close()


@pytest.fixture
def own_nursery() -> Iterator[Nursery]:
    """One to be hurt."""
    made = Nursery()
    yield made
    made.close()


def is_ready(trainer: TrainerProcess) -> bool:
    """Wait for its first word."""
    until(trainer.has_spoken, seconds=LOAD_SECONDS)
    return trainer.messages(0) == [Ready(device="cpu")]


def parent_of(trainer: TrainerProcess) -> psutil.Process:
    """The nursery that has forked it."""
    return psutil.Process(trainer.pid).parent()


def job_line(folder: Path) -> JobLine:
    """A distillation of three steps."""
    folder.mkdir()
    return JobLine(
        kind="distill",
        computation="distill",
        job_id="job_test",
        params=distill_params(selection={"n_evaluations": 1, "epochs": 1}),
        inputs={"dataset": write_dataset(folder)},
        work_folder=folder / "work",
        log_file=folder / "log.txt",
        threads=1,
    )


def run(trainer: TrainerProcess, folder: Path) -> bytes:
    """Have it distil; gives the bytes of the set."""
    trainer.send(job_line(folder))
    messages = []
    until(lambda: messages.extend(trainer.messages(1)) or not trainer.is_open, seconds=LOAD_SECONDS)
    assert isinstance(messages[-1], Outputs)
    assert trainer.end(60) == "exited with status 0"
    return (folder / "work" / "distilled_set.safetensors").read_bytes()


def test_each_job_has_a_process_of_its_own(nursery: Nursery, tmp_path: Path) -> None:
    """Two at once, of which neither sees what the other does: the same recipe, the same bytes."""
    first, second = TrainerProcess(nursery.fork()), TrainerProcess(nursery.fork())
    assert is_ready(first)
    assert is_ready(second)
    assert first.pid != second.pid
    assert parent_of(first) == parent_of(second)
    assert run(first, tmp_path / "a") == run(second, tmp_path / "b")


def test_a_trainer_is_as_one_that_was_started(nursery: Nursery) -> None:
    """A session of its own, first to be killed by the kernel, and no file of another's."""
    bystander, trainer = TrainerProcess(nursery.fork()), TrainerProcess(nursery.fork())
    assert is_ready(trainer)
    assert os.getsid(trainer.pid) == trainer.pid
    folder = Path(f"/proc/{trainer.pid}")
    assert (folder / "oom_score_adj").read_text().strip() == "1000"
    open_files = [os.readlink(one) for one in (folder / "fd").iterdir()]  # noqa: PTH115
    sockets = [name for name in open_files if name.startswith("socket:")]
    pipes = {name for name in open_files if name.startswith("pipe:")}
    assert sockets == []
    assert pipes >= {os.readlink(folder / "fd/0")}  # noqa: PTH115
    for one in (bystander, trainer):
        assert one.end(0) == "was ended by its supervisor"


def test_what_jobs_import_by_need_is_there(nursery: Nursery) -> None:
    """A fork is not followed by seconds of imports."""
    trainer = TrainerProcess(nursery.fork())
    assert is_ready(trainer)
    assert "/sklearn/" in Path(f"/proc/{trainer.pid}/maps").read_text()
    trainer.end(0)


def test_the_end_of_a_killed_one_is_told(nursery: Nursery) -> None:
    """By its signal, while its pid is still its own; the next is not touched."""
    trainer = TrainerProcess(nursery.fork())
    assert is_ready(trainer)
    parent = parent_of(trainer)
    os.kill(trainer.pid, signal.SIGSEGV)
    until(lambda: not trainer.is_alive())
    assert psutil.Process(trainer.pid).status() == psutil.STATUS_ZOMBIE
    pid = trainer.pid
    assert trainer.end(60) == "was killed by SIGSEGV"
    until(lambda: not psutil.pid_exists(pid))
    following = TrainerProcess(nursery.fork())
    assert is_ready(following)
    assert parent_of(following) == parent
    following.end(0)


def test_a_signal_is_sent_once_there_is_somebody(own_nursery: Nursery) -> None:
    """A stop that comes while the nursery loads is not lost."""
    trainer = TrainerProcess(own_nursery.fork())
    trainer.ask_to_stop()
    until(lambda: not trainer.is_alive(), seconds=LOAD_SECONDS)
    assert trainer.end(0) in ("exited with status 0", "was killed by SIGTERM")


def test_trainers_die_with_their_nursery_and_the_next_has_a_new_one(own_nursery: Nursery) -> None:
    """None is left that nobody could tell of."""
    trainer = TrainerProcess(own_nursery.fork())
    assert is_ready(trainer)
    pid, killed = trainer.pid, parent_of(trainer)
    killed.kill()
    until(lambda: not trainer.is_alive())
    until(lambda: has_ended(pid))
    assert trainer.end(0) == "was killed by SIGKILL"
    following = TrainerProcess(own_nursery.fork())
    assert is_ready(following)
    assert parent_of(following) != killed
    following.end(0)


def test_one_that_hangs_is_given_up(own_nursery: Nursery, monkeypatch) -> None:
    """The end of its trainer is not waited for without end."""
    trainer = TrainerProcess(own_nursery.fork())
    assert is_ready(trainer)
    monkeypatch.setattr(nursery_module, "PATIENCE_SECONDS", 0.1)
    parent_of(trainer).suspend()
    assert trainer.end(0) == "was ended by its supervisor"


def test_a_trainer_given_up_while_the_nursery_loads_ends_it(own_nursery: Nursery) -> None:
    """There is no trainer to kill yet; the next begins anew."""
    TrainerProcess(own_nursery.fork()).end(0)
    following = TrainerProcess(own_nursery.fork())
    assert is_ready(following)
    following.end(0)


def test_one_that_cannot_load_ends_its_trainers(capfd: pytest.CaptureFixture[str]) -> None:
    """With its own status; nobody waits for a word of theirs."""
    broken = Nursery([sys.executable, "-c", "raise SystemExit('no torch here')"])
    trainer = TrainerProcess(broken.fork())
    until(lambda: trainer.messages(1) == [] and not trainer.is_open)
    assert trainer.end(60) == "exited with status 1"
    assert "no torch here" in capfd.readouterr().err
    broken.close()


def test_beside_another_thread_none_is_forked(tmp_path: Path) -> None:
    """It might hold a lock for ever in the child: programs are started, which work as well."""
    threaded = Nursery([sys.executable, "-c", WITH_A_THREAD])
    trainer = TrainerProcess(threaded.fork())
    assert is_ready(trainer)
    assert "worker.trainer.trainer" in psutil.Process(trainer.pid).cmdline()
    run(trainer, tmp_path / "a")
    threaded.close()


def test_all_is_gone_with_the_supervisor(tmp_path: Path) -> None:
    """A kill -9 of it leaves neither nursery nor trainer."""
    note = tmp_path / "pids"
    program = (
        "import os, signal, sys, time; sys.path.insert(0, '.')\n"
        "from worker.supervisor.trainer_process import start_trainer\n"
        "trainer = start_trainer('gpu')\n"
        "while not trainer.has_spoken(): time.sleep(0.01)\n"
        f"open({str(note)!r}, 'w').write(f'{{trainer.pid}} {{os.getpid()}}')\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    status = os.spawnv(os.P_WAIT, sys.executable, [sys.executable, "-c", program])
    assert status == -signal.SIGKILL
    pid, _ = map(int, note.read_text().split())
    until(lambda: has_ended(pid))
    left = [one for one in psutil.process_iter() if is_nursery_of(one, tmp_path)]
    assert left == []


def is_nursery_of(process: psutil.Process, folder: Path) -> bool:
    """Is it one that was started by a program that is gone?"""
    try:
        return NURSERY_ARGV[-1] in process.cmdline() and process.ppid() == 1
    except psutil.Error:
        return False


def test_a_nursery_forks_nothing_twice(nursery: Nursery) -> None:
    """A handle that is dropped unread leaves no trainer behind."""
    trainer: ForkedTrainer = nursery.fork()
    until(lambda: trainer.pid is not None, seconds=LOAD_SECONDS)
    pid = trainer.pid
    assert pid is not None
    trainer.kill()
    trainer.wait()
    until(lambda: not psutil.pid_exists(pid))
    trainer.stdin.close()
    trainer.stdout.close()
