"""What a job's process takes from itself before it reads what strangers sent (standard library)."""
