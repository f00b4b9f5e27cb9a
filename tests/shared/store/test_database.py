"""What each connection to a database is told first."""

from app.shared.settings import Settings
from app.shared.store.database import open_database


def test_sqlite_syncs_each_commit(migrated_sqlite, tmp_path) -> None:
    """FULL, which is 2: with less, a power cut could undo a job that was accepted."""
    database = open_database(
        Settings(data_folder=tmp_path, database_url=f"sqlite:///{migrated_sqlite}")
    )
    try:
        for begin in (database.read, database.write):
            with begin() as connection:
                pragmas = ("synchronous", "journal_mode", "foreign_keys")
                told = [connection.exec_driver_sql(f"PRAGMA {name}").scalar() for name in pragmas]
                assert told == [2, "wal", 1]
    finally:
        database.close()
