"""Rows and bytes: the database, its tables, and the files of results."""
