"""Distil data sets and calibrate networks through a ddcal service.

    import ddcal

    with ddcal.Client() as client:
        job = client.submit("distill", dataset="digits", distill={"images_per_class": 10})
        job.wait(progress=True).download("digits-10")

`ddcal.torch` loads what was downloaded, `ddcal.local` calibrates logits without a service; both
need torch.
"""

from importlib import metadata

from ddcal.async_client import AsyncClient
from ddcal.async_handles import AsyncDataset, AsyncJob, AsyncResult
from ddcal.client import Client
from ddcal.errors import (
    ConflictError,
    DamagedDownloadError,
    DdcalError,
    InvalidRequestError,
    JobFailedError,
    JobNotDoneError,
    MissingExtraError,
    NoServiceError,
    NotFoundError,
    ServiceError,
    UnauthorizedError,
    UploadRejectedError,
    WaitTimeoutError,
)
from ddcal.handles import Dataset, Job, Result
from ddcal.report import Report
from ddcal.shelf import ShelvedSet, load_set, set_names

__version__ = metadata.version("ddcal")
__all__ = [
    "AsyncClient",
    "AsyncDataset",
    "AsyncJob",
    "AsyncResult",
    "Client",
    "ConflictError",
    "DamagedDownloadError",
    "Dataset",
    "DdcalError",
    "InvalidRequestError",
    "Job",
    "JobFailedError",
    "JobNotDoneError",
    "MissingExtraError",
    "NoServiceError",
    "NotFoundError",
    "Report",
    "Result",
    "ServiceError",
    "ShelvedSet",
    "UnauthorizedError",
    "UploadRejectedError",
    "WaitTimeoutError",
    "__version__",
    "load_set",
    "set_names",
]
