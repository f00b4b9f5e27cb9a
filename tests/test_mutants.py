"""The mutants are of today's code, each is killed by tests that exist, and each is said once."""

import ast

import pytest

from tests.mutants.__main__ import sample, survivors
from tests.mutants.catalogue import MUTANTS
from tests.mutants.mutant import ROOT, Mutant, StaleMutantError
from tests.test_guarantees import names_in, promises

CHAOS = "tests/chaos/test_chaos.py"
WITHOUT_A_MUTANT = {
    f"{CHAOS}::test_all_invariants_hold": "a whole run, of all mechanisms at once",
    f"{CHAOS}::test_without_the_fence_the_invariants_catch_the_zombie": "a mutant itself",
    f"{CHAOS}::test_without_leases_the_invariants_catch_the_reconciler": "a mutant itself",
}
"""Tests of docs/guarantees.md that are to kill none, and why."""


def killers() -> set[str]:
    """The tests that kill a mutant, without their parameters."""
    return {test.partition("[")[0] for mutant in MUTANTS for test in mutant.killed_by}


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_a_mutant_changes_its_file_into_another_program(mutant):
    """The text that it replaces stands there once, and what comes out is Python, if it was."""
    mutated = mutant.mutated()
    if mutant.path.endswith(".py"):
        assert ast.dump(ast.parse(mutated)) != ast.dump(ast.parse((ROOT / mutant.path).read_text()))


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_the_tests_that_kill_a_mutant_exist(mutant):
    """By file and name."""
    for test in mutant.killed_by:
        file, name = test.partition("[")[0].split("::")
        assert name in names_in(ROOT / file)


def test_every_promise_has_a_mutant():
    """At least one of the tests that a row names is seen to fail without the row's mechanism."""
    lacking = [
        row for row, tests in promises() if not tests & (killers() | WITHOUT_A_MUTANT.keys())
    ]
    assert lacking == []


def test_nothing_is_let_off_in_vain():
    """Each exception is of a test that the page names, and that kills nothing."""
    named = {test for _, tests in promises() for test in tests}
    assert WITHOUT_A_MUTANT.keys() <= named - killers()


def test_a_sample_is_of_quick_ones_and_changes_with_the_seed():
    """As the gate draws it, by the commit's id."""
    drawn = {seed: sample(MUTANTS, 5, seed) for seed in ("a027a2b", "4fda89c")}
    assert drawn["a027a2b"] == sample(MUTANTS, 5, "a027a2b") != drawn["4fda89c"]
    assert not any(mutant.is_slow for mutants in drawn.values() for mutant in mutants)


def test_each_mutant_has_a_name_of_its_own():
    """By which it is chosen."""
    assert len({mutant.name for mutant in MUTANTS}) == len(MUTANTS)


def test_a_stale_mutant_says_so():
    """What it replaces is gone, or stands twice."""
    for before in ("nowhere in the file", "import"):
        stale = Mutant("stale", "app/shared/engine/runs.py", before, "x", ())
        with pytest.raises(StaleMutantError, match="write the mutant anew"):
            stale.mutated()


ONE = "ONE, TWO = 1, 2\n"
TESTS = """
from numbers_of_ours import ONE, TWO

def test_one():
    assert ONE == 1

def test_two():
    assert TWO >= 2
"""


@pytest.fixture
def copy(tmp_path):
    """Sources of one module, and its tests."""
    (tmp_path / "numbers_of_ours.py").write_text(ONE)
    (tmp_path / "test_numbers.py").write_text(TESTS)
    (tmp_path / "pytest.ini").write_text("[pytest]\naddopts = -p no:schemathesis\n")
    return tmp_path


def mutant_of_ours(name, after):
    """It writes other numbers there, no shorter or longer."""
    return Mutant(name, "numbers_of_ours.py", "= 1, 2", after, ("test_numbers.py",))


@pytest.mark.long
def test_a_mutant_that_no_test_notices_survives(copy, capsys):
    """One that a test notices, and one that none does; the copy is whole afterwards."""
    mutants = [mutant_of_ours("larger", "= 1, 3"), mutant_of_ours("wrong", "= 2, 2")]
    assert survivors(mutants, [copy]) == ["larger"]
    told = capsys.readouterr().out
    assert "1 of 2 mutants killed" in told
    assert "survived: larger" in told
    assert (copy / "numbers_of_ours.py").read_text() == ONE


def test_tests_that_fail_without_a_mutant_kill_none(copy):
    """They are told of, and nothing is tried."""
    (copy / "numbers_of_ours.py").write_text("ONE, TWO = 1, 1\n")
    with pytest.raises(SystemExit, match="they fail without a mutant"):
        survivors([mutant_of_ours("wrong", "= 2, 2")], [copy])
