"""What a control takes out of the engine, by name, and how its workers are told."""

WITHOUT_VARIABLE = "CHAOS_WITHOUT"
FENCE, LEASES = "fence", "leases"
RUN_VARIABLE = "CHAOS_RUN"
"""In the environment of all processes of a run: by it they are found."""
