"""What a control takes out of the engine, by name, and how its workers are told."""

WITHOUT_VARIABLE = "CHAOS_WITHOUT"
FENCE, LEASES = "fence", "leases"
