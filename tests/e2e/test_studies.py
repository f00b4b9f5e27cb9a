"""A study run by the whole service, and one that is killed on its way."""

from tests.e2e.killed_study import compared


def test_a_study_killed_with_everything_under_it_gives_the_same_table():
    """Nothing is computed twice but what was at work when it was killed, and nothing is lost."""
    quiet, killed = compared(2, 1, seed=1)
    assert (quiet.state, killed.state) == ("succeeded", "succeeded")
    assert killed.table == quiet.table
    assert len(quiet.table) == 4
    assert killed.n_twice == quiet.n_twice == 0
    assert killed.n_computed == quiet.n_computed
