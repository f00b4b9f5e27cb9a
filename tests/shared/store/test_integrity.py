"""A database that is damaged says so."""

import os
import sqlite3
from pathlib import Path

import pytest
from sqlalchemy import text

from app.shared.settings import Settings
from app.shared.store.database import Database, open_database
from app.shared.store.integrity import check_database


@pytest.fixture
def sqlite_file(migrated_sqlite: Path, tmp_path: Path) -> Path:
    """A database at head, in one file."""
    path = tmp_path / "ddcal.sqlite"
    path.write_bytes(Path(migrated_sqlite).read_bytes())
    return path


def complaints(path: Path) -> tuple[str, ...]:
    """What a fresh look at a file says."""
    database = open_database(Settings(data_folder=path.parent, database_url=f"sqlite:///{path}"))
    try:
        return check_database(database).complaints
    finally:
        database.close()


def test_a_sound_database_has_nothing_to_complain_of(database: Database) -> None:
    """And says what was looked at, and what was not."""
    check = check_database(database)
    assert check.complaints == ()
    with database.read() as connection:
        is_sqlite = connection.dialect.name == "sqlite"
    expected = "every page, index and foreign key" if is_sqlite else "pg_amcheck and pg_checksums"
    assert expected in check.extent


def test_damaged_pages_of_sqlite_are_found(sqlite_file: Path) -> None:
    """Pages overwritten with noise, all but the first."""
    content = sqlite_file.read_bytes()
    sqlite_file.write_bytes(content[:4096] + os.urandom(len(content) - 4096))
    assert complaints(sqlite_file)


def test_a_file_that_is_no_database_is_found(sqlite_file: Path) -> None:
    """Its header is gone."""
    sqlite_file.write_bytes(b"\0" * 100 + sqlite_file.read_bytes()[100:])
    assert complaints(sqlite_file) == ("file is not a database",)


def test_an_index_that_lacks_a_row_is_found(sqlite_file: Path) -> None:
    """A row that is read by one way and not by another."""
    connection = sqlite3.connect(sqlite_file)
    connection.executescript(
        "CREATE TABLE t (a INTEGER); CREATE INDEX i ON t (a); INSERT INTO t VALUES (1), (2);"
        "PRAGMA writable_schema = ON;"
        "UPDATE sqlite_master SET sql = 'CREATE INDEX i ON t (a) WHERE a > 1' WHERE name = 'i';"
    )
    connection.close()
    assert any("index i" in complaint for complaint in complaints(sqlite_file))


def test_a_row_without_the_row_it_names_is_found(sqlite_file: Path) -> None:
    """Written by a program that had foreign keys off."""
    connection = sqlite3.connect(sqlite_file)
    connection.executescript(
        "CREATE TABLE child (job TEXT REFERENCES jobs (id)); INSERT INTO child VALUES ('job_1')"
    )
    connection.close()
    assert complaints(sqlite_file) == ("row 1 of child names a row of jobs that is not there",)


@pytest.mark.parametrize("migrated_url", ["postgresql"], indirect=True)
def test_rows_that_postgresql_cannot_read_are_found(database: Database) -> None:
    """A value whose meaning was lost from the catalog."""
    with database.write() as connection:
        connection.execute(text("CREATE TYPE mood AS ENUM ('fine')"))
        connection.execute(text("CREATE TABLE hurt (mood mood)"))
        connection.execute(text("INSERT INTO hurt VALUES ('fine')"))
    with database.write() as connection:
        connection.execute(text("DELETE FROM pg_enum WHERE enumlabel = 'fine'"))
    (complaint,) = check_database(database).complaints
    assert complaint.startswith("hurt: ")
