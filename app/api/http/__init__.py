"""What every request passes and what every endpoint answers with."""
