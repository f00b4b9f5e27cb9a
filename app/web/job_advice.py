"""What to do about a job that has failed, by the type of its error, where its message is silent."""

from collections.abc import Mapping

ADVICE: Mapping[str, str] = {
    "attempts_exhausted": "Each of its attempts was lost with its worker. See the log for what "
    "they had in common, then retry.",
    "cuda_oom": "Ask for smaller batches, a smaller network or fewer images, then submit it again.",
    "damaged_input": "A stored file that it reads has changed on the disk. Submit what made that "
    "file again, then retry.",
    "dependency_failed": "Another job that it builds on has failed first: that one says why.",
    "dependency_expired": "Another job that it builds on had not begun in time.",
    "disk_full": "Free some space on the service's disk, then retry: it goes on from its last "
    "checkpoint.",
    "expired": "It had not begun in time. Submit it again with a later expires_at, or without.",
    "host_oom": "Ask for smaller batches, a smaller network or fewer images, or give the worker "
    "more memory, then retry.",
    "internal": "The log has the details. Retry; if it fails again, please report it.",
    "invalid_data": "Correct the data and upload it under a new name.",
    "jobs_lost": "What could be measured is in the comparison. A retry computes what is missing.",
    "nan_loss": "Copy the request below, ask for a smaller learning rate, and submit it again.",
    "stalled": "If it only needs more time between two steps, submit it again with a larger "
    "stall_seconds.",
    "timeout": "Submit it again with a larger timeout_seconds: it goes on from its last "
    "checkpoint.",
    "trainer_crashed": "The log may say why. A retry goes on from its last checkpoint.",
    "trainer_did_not_start": "The worker's machine may be too busy. Retry.",
    "worker_error": "The worker's log has the details. Retry.",
    "worker_lost": "Its worker was not heard of any more. A retry goes on from its last "
    "checkpoint.",
}
