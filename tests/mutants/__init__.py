"""Mutants: each takes a mechanism of docs/guarantees.md away and names the test that must fail."""
