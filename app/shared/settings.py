"""Everything that can be set, read from the environment with the prefix DDCAL_."""

import os
import re
from collections.abc import Iterable
from functools import cached_property
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

PREFIX = "DDCAL_"
MIN_KEY_LENGTH = 16
LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})
LOG_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
_DATABASES = ("sqlite", "postgresql", "postgresql+psycopg")
_BROKERS = ("redis", "rediss", "redis+socket", "sentinel")


def _checked_key(key: SecretStr) -> SecretStr:
    text = key.get_secret_value()
    if len(text.strip()) < MIN_KEY_LENGTH:
        what = (
            f"{len(text)} characters" if text.strip() else "a blank one" if text else "an empty one"
        )
        raise ValueError(f"an API key needs at least {MIN_KEY_LENGTH} characters, got {what}")
    # It travels in a header, and Basic ends a user name at the first colon alone.
    if not re.fullmatch(r"[!-~]+", text):
        raise ValueError("an API key consists of visible ASCII characters, without spaces")
    return key


def _checked_database_url(url: str) -> str:
    if url:
        _require_scheme(url, _DATABASES)
    return url


def _checked_redis_url(url: str) -> str:
    _require_scheme(url, _BROKERS)
    try:
        _ = urlsplit(url).port
    except ValueError:
        raise ValueError("the URL's host or port cannot be read") from None
    return url


def _require_scheme(url: str, schemes: Iterable[str]) -> None:
    # Told without the URL, which may hold a password.
    scheme, separator, _ = url.partition("://")
    if not separator or scheme not in schemes:
        wanted = " or ".join(f"{scheme}://" for scheme in schemes)
        raise ValueError(f"wanted a URL that begins with {wanted}")


def _checked_level(level: str) -> str:
    if level not in LOG_LEVELS:
        raise ValueError(f"wanted one of {', '.join(LOG_LEVELS)}, got {level[:40]!r}")
    return level


def _required(path: object) -> object:
    if path == "":  # which would be the present folder, whatever lies in it
        raise ValueError("wanted a folder, got an empty name")
    return path


def _upper(level: object) -> object:
    return level.upper() if isinstance(level, str) else level


class SettingsError(Exception):
    """Settings that cannot be used; its text names each variable and never a secret's value."""


class Settings(BaseSettings):
    """Settings of one process, read once at its edge and passed inwards."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        extra="forbid",
        frozen=True,
        allow_inf_nan=False,
        hide_input_in_errors=True,  # it would print keys and passwords
    )

    data_folder: Annotated[Path, BeforeValidator(_required)] = Field(
        Path("ddcal-data"), description="Artifacts, logs, work folders, and SQLite when used."
    )
    database_url: Annotated[str, AfterValidator(_checked_database_url)] = Field(
        "",
        repr=False,
        description="SQLAlchemy URL: `sqlite:///…`, `postgresql://…` or `postgresql+psycopg://…`. "
        "Empty: SQLite in the data folder.",
    )
    redis_url: Annotated[str, AfterValidator(_checked_redis_url)] = Field(
        "redis://127.0.0.1:6379/0",
        repr=False,
        description="The broker, as Celery reads it: `redis://`, `rediss://`, `redis+socket://` or "
        "`sentinel://`. `ddcal serve` brings its own.",
    )
    host: str = Field(
        "127.0.0.1",
        description="Address to listen on. With one that others reach, see docs/access.md.",
    )
    port: int = Field(8000, ge=0, le=65535, description="0 takes a free port.")
    api_key: Annotated[SecretStr, AfterValidator(_checked_key)] | None = Field(
        None,
        description="At least 16 visible ASCII characters; every request but `/healthz` and a login"
        " needs it. Unset: `ddcal serve` makes one, `ddcal api` does not start.",
    )
    no_key: bool = Field(
        False,
        description="Answer without any key; on a loopback address only, and not beside a key.",
    )
    max_upload_bytes: int = Field(2 * 2**30, ge=1, description="Largest upload.")
    max_decoded_bytes: int = Field(8 * 2**30, ge=1, description="Largest data set after decoding.")
    intake_timeout_seconds: float = Field(
        600, gt=0, description="The most time that reading an upload may take."
    )
    dataset_folder: Path | None = Field(
        None, description="Where torchvision's data sets lie; default: named/ in the data folder."
    )
    allow_downloads: bool = Field(
        False, description="Whether named data sets that are missing may be fetched."
    )
    lease_seconds: float = Field(20, gt=0, description="A run not heard of for so long is lost.")
    heartbeat_seconds: float = Field(
        3,
        gt=0,
        description="Pause between two signs of life of a run; at most a third of the lease.",
    )
    max_attempts: int = Field(3, ge=1, description="Of a job that is lost or fails by itself.")
    retry_seconds: float = Field(1, ge=0, description="Wait before the second attempt; doubles.")
    stop_grace_seconds: float = Field(
        10, gt=0, description="From asking a trainer to stop to killing it."
    )
    ring_again_seconds: float = Field(
        5, gt=0, description="A queue with a job waiting so long is rung again."
    )
    reconcile_seconds: float = Field(1, gt=0, description="Pause between the reconciler's looks.")
    max_experts_bytes: int = Field(
        32 * 2**30, ge=1, description="Largest file of experts: each keeps its parameters by epoch."
    )
    checkpoint_seconds: float = Field(
        5, ge=0, description="Least time from one write of a run's checkpoint to the next."
    )
    kept_checkpoint_bytes: int = Field(
        4 * 2**30,
        ge=0,
        description="Checkpoints of failed jobs kept in all, for another job of the same recipe.",
    )
    stall_seconds: float = Field(
        1800, gt=0, description="A trainer that tells of no progress for so long counts as hanging."
    )
    start_seconds: float = Field(
        120, gt=0, description="A trainer not ready so long after its start is killed and replaced."
    )
    trainer_memory_bytes: int = Field(
        0,
        ge=0,
        description="Memory beyond which a trainer is killed; 0: nine tenths of the machine's, "
        "shared among `DDCAL_WORKERS`.",
    )
    trainer_threads: int = Field(
        0,
        ge=0,
        description="CPU threads of a trainer; 0: all cores but one, shared among `DDCAL_WORKERS`.",
    )
    workers: int = Field(
        1,
        ge=1,
        le=64,
        description="Jobs that `ddcal serve` runs at once (`--workers`), besides uploads' checks; "
        "independent jobs of a pipeline, too. Trainers share what GPU there is.",
    )
    intakes: int = Field(
        2,
        ge=1,
        description="Uploads checked, and results written in other formats, at once by a worker "
        "that serves their queue alone, as that of `ddcal serve` does; each check may "
        "take 4 GiB of address space.",
    )
    confine_jobs: bool = Field(
        True,
        description="Trainers and checks of uploads reach the files of their job alone, no other "
        "process and no network: see SECURITY.md.",
    )
    hang_seconds: float = Field(
        60,
        gt=0,
        description="`ddcal serve` kills and restarts a part that gives no sign of life for so "
        "long; a worker, no sooner than its lease allows. A part that starts has at "
        "least 300 s.",
    )
    min_free_bytes: int = Field(
        2**30, ge=0, description="No job is begun and no upload taken that would leave less free."
    )
    housekeeping_seconds: float = Field(
        3600, gt=0, description="Pause between two rounds of housekeeping."
    )
    scrub_bytes: int = Field(
        2**30,
        ge=0,
        description="Stored files of so many bytes are verified in a round, each at most once a "
        "day; 0: none, nor the database.",
    )
    leftover_seconds: float = Field(
        3600, ge=0, description="A file that no row names is left alone until it is so old."
    )
    kept_job_days: float | None = Field(
        None, gt=0, description="Ended jobs go with their results when so old; unset: never."
    )
    kept_job_bytes: int | None = Field(
        None, ge=0, description="The newest ended jobs stay whose files are no more than this."
    )
    kept_expert_days: float | None = Field(
        None, gt=0, description="Jobs of experts that none has used for so long go; unset: never."
    )
    kept_expert_bytes: int | None = Field(
        None, ge=0, description="The last used sets of experts stay that are no more than this."
    )
    kept_key_days: float = Field(
        7, ge=1, description="A request sent again within so long finds what the first has made."
    )
    log_level: Annotated[str, BeforeValidator(_upper), AfterValidator(_checked_level)] = Field(
        "INFO", description="`DEBUG`, `INFO`, `WARNING`, `ERROR` or `CRITICAL`."
    )

    @model_validator(mode="after")
    def _beats_fit_lease(self) -> "Settings":
        # A beat may be late by itself: who was not heard of for most of a lease is given up.
        if self.heartbeat_seconds * 3 > self.lease_seconds:
            raise ValueError(
                "lease_seconds has to be at least three times heartbeat_seconds, got "
                f"{self.lease_seconds} and {self.heartbeat_seconds}"
            )
        return self

    @model_validator(mode="after")
    def _open_on_loopback_alone(self) -> "Settings":
        if self.no_key and self.api_key is not None:
            raise ValueError("DDCAL_API_KEY and DDCAL_NO_KEY (--no-key) exclude each other")
        if self.no_key and self.host not in LOOPBACK:
            raise ValueError(
                f"host {self.host} is reachable from outside: without a key (DDCAL_NO_KEY, "
                "--no-key) the service listens on 127.0.0.1, ::1 or localhost only"
            )
        return self

    @cached_property
    def folder(self) -> Path:
        """The data folder, absolute."""
        return self.data_folder.resolve()

    @property
    def sqlalchemy_url(self) -> str:
        """The database, by default a SQLite file in the data folder."""
        return self.database_url or f"sqlite:///{self.folder / 'ddcal.sqlite'}"

    @property
    def artifact_folder(self) -> Path:
        """Where the artifact store keeps its bytes."""
        return self.folder / "artifacts"

    @property
    def log_folder(self) -> Path:
        """Where trainers' logs lie, one file per job."""
        return self.folder / "logs"

    @property
    def work_folder(self) -> Path:
        """Where each run of a job has its own scratch folder."""
        return self.folder / "work"

    @property
    def checkpoint_folder(self) -> Path:
        """Where each job that keeps a checkpoint has a folder that outlives its attempts."""
        return self.folder / "checkpoints"

    @property
    def snapshot_folder(self) -> Path:
        """Where each job that is watched at work has a folder of pictures."""
        return self.folder / "snapshots"

    @property
    def upload_folder(self) -> Path:
        """Where uploads lie until their intake has ended."""
        return self.folder / "uploads"

    @property
    def login_folder(self) -> Path:
        """Where tokens lie that log a browser in once."""
        return self.folder / "login-tokens"

    @property
    def named_folder(self) -> Path:
        """Where torchvision's data sets are looked for."""
        return self.dataset_folder or self.folder / "named"

    @property
    def max_trainer_bytes(self) -> int:
        """The memory beyond which a trainer is killed."""
        machine = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        return self.trainer_memory_bytes or machine * 9 // 10 // self.workers

    @property
    def n_threads(self) -> int:
        """How many CPU threads a trainer computes with.

        One core stays with the service and the warming of the next trainer: threads that wait for
        each other on a core that is taken make small networks many times slower.
        """
        return self.trainer_threads or max(((os.cpu_count() or 1) - 1) // self.workers, 1)
