"""All mutants, in the order of docs/guarantees.md: one module for each of its parts."""

from tests.mutants import (
    access,
    broker,
    confinement,
    database,
    disk,
    liveness,
    processes,
    stored_bytes,
    trainers,
    users,
)

MUTANTS = (
    *processes.MUTANTS,
    *trainers.MUTANTS,
    *broker.MUTANTS,
    *database.MUTANTS,
    *disk.MUTANTS,
    *stored_bytes.MUTANTS,
    *users.MUTANTS,
    *access.MUTANTS,
    *confinement.MUTANTS,
    *liveness.MUTANTS,
)
