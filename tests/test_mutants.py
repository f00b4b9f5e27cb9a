"""The mutants are of today's code, each is killed by tests that exist, and each is said once."""

import ast

import pytest

from tests.mutants.catalogue import MUTANTS
from tests.mutants.mutant import ROOT, Mutant, StaleMutantError
from tests.test_guarantees import names_in


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
        file, name = test.split("::")
        assert name in names_in(ROOT / file)


def test_each_mutant_has_a_name_of_its_own():
    """By which it is chosen."""
    assert len({mutant.name for mutant in MUTANTS}) == len(MUTANTS)


def test_a_stale_mutant_says_so():
    """What it replaces is gone, or stands twice."""
    for before in ("nowhere in the file", "import"):
        stale = Mutant("stale", "app/shared/engine/runs.py", before, "x", ())
        with pytest.raises(StaleMutantError, match="write the mutant anew"):
            stale.mutated()
