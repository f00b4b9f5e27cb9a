"""The documentation site: docs/, and a reference made from the code when the site is built."""
