"""`ddcal serve`: broker, API and worker as children of one process that keeps them alive.

    serve ──┬─ broker          valkey-server on a unix socket, queues in an append-only file
            ├─ migrate         once, before the next two
            ├─ api             accepts on a socket that serve opened: it stays open over a restart
            └─ worker, intake  one Celery process for each queue

A child that dies, or gives no sign of life, is started again with backoff. All end with serve:
when asked to in order, on a kill by the kernel's parent-death signal.
"""

import contextlib
import socket
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import httpx
from pydantic import SecretStr, ValidationError

from app.embedded.broker import broker_url, socket_path
from app.embedded.children import wait_or_kill
from app.embedded.local_service import hold, keep_key
from app.embedded.parts import (
    broker_program,
    child_environment,
    migrate_program,
    service_programs,
)
from app.embedded.programs import (
    EmbeddedError,
    Kept,
    Tell,
    log_tail,
    look_after,
    start,
    start_process,
    stop_in_order,
)
from app.embedded.signs import START_SECONDS
from app.shared.login_tokens import LIFE_SECONDS, make_token
from app.shared.settings import LOOPBACK, Settings, SettingsError
from ddcal.local_service import ADDRESS_FILE, KEY_FILE

_LOOK_SECONDS = 0.1
_SOON_SECONDS = 0.01
_ANSWER_SECONDS = 5.0


def serve(settings: Settings, *, tell: Tell, stopping: threading.Event) -> None:
    """Run the whole service until `stopping` is set.

    Args:
        settings: host, port (0 takes a free one), data folder, and a key, that no key is wanted, or
            neither: then the data folder keeps one, made now if need be. The broker is the embedded
            one.
        tell: called with each line for people.
        stopping: set by a signal handler.

    Raises:
        EmbeddedError: another service holds the data folder, the port is taken, or a part does not
            start.
        SettingsError: the kept key cannot be used.
    """
    folder = settings.folder
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    with _exclusively(folder), _listening(settings) as listener, contextlib.ExitStack() as stack:
        settings = _with_key(settings)
        address = _address(settings.host, listener)
        broker_folder = folder / "redis"
        broker_folder.mkdir(exist_ok=True, mode=0o700)
        path = stack.enter_context(socket_path(broker_folder))
        environment = child_environment(settings, url=broker_url(path))
        broker = start(broker_program(settings, environment, path))
        # First on the stack, so stopped last: the parts speak to it until they have ended.
        stack.callback(stop_in_order, [[broker]])
        _migrate(settings, environment)
        _await_broker(broker, tell, stopping)
        programs = stack.enter_context(service_programs(settings, environment, listener, path))
        parts = [start(program) for program in programs]
        stack.callback(stop_in_order, [parts])
        _await_api(address, [broker, *parts], tell, stopping)
        if not stopping.is_set():
            with _published(folder / ADDRESS_FILE, address):
                for line in _welcome(settings, address):
                    tell(line)
                while not stopping.wait(_LOOK_SECONDS):
                    for kept in (broker, *parts):
                        look_after(kept, tell)
                tell("stopping")
        listener.close()


def _with_key(settings: Settings) -> Settings:
    """The settings with the key that the data folder keeps, where they say nothing of a key."""
    if settings.no_key or settings.api_key is not None:
        return settings
    try:
        kept = Settings(api_key=SecretStr(keep_key(settings.folder))).api_key
    except ValidationError:
        path = settings.folder / KEY_FILE
        raise SettingsError(f"{path} holds no usable key: delete it, and serve makes one") from None
    return settings.model_copy(update={"api_key": kept})


def _welcome(settings: Settings, address: str) -> Iterator[str]:
    """What people are told when everything is up."""
    yield f"ddcal is ready: {address}   (data and logs: {settings.folder})"
    if settings.no_key:
        yield "without a key: every program of this machine may use it"
        return
    token = make_token(settings.login_folder)
    minutes = LIFE_SECONDS // 60
    yield f"in a browser:   {address}/login?token={token}   (once, within {minutes} minutes)"
    if settings.host not in LOOPBACK:
        yield f"on {settings.host} key and data travel unencrypted: put a proxy with TLS before it"


@contextlib.contextmanager
def _exclusively(folder: Path) -> Iterator[None]:
    try:
        with hold(folder):
            yield
    except BlockingIOError:
        raise EmbeddedError(
            f"another ddcal serve holds {folder}: stop it, or give another --data-folder"
        ) from None


@contextlib.contextmanager
def _listening(settings: Settings) -> Iterator[socket.socket]:
    """The socket that the API accepts on, opened here so that it outlives a restart of the API."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as listener:
        # The port of a service that has just ended can be taken again at once.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((settings.host, settings.port))
        except OSError as error:
            raise EmbeddedError(
                f"cannot listen on {settings.host}:{settings.port}: {error.strerror}; "
                "give another --port (0 takes a free one)"
            ) from error
        listener.listen(1024)
        yield listener


def _address(host: str, listener: socket.socket) -> str:
    return f"http://{f'[{host}]' if ':' in host else host}:{listener.getsockname()[1]}"


@contextlib.contextmanager
def _published(path: Path, text: str) -> Iterator[None]:
    """A file that stands, whole, as long as the context."""
    part = path.with_suffix(".part")
    part.write_text(text)
    part.replace(path)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)


def _migrate(settings: Settings, environment: Mapping[str, str]) -> None:
    program = migrate_program(settings, environment)
    process = start_process(program)
    status = wait_or_kill(process, deadline=time.monotonic() + START_SECONDS)
    if status != 0:
        how = "failed" if status > 0 else f"were killed, or not done within {START_SECONDS} s"
        raise EmbeddedError(f"the migrations {how}\n{log_tail(program.log_path)}")


def _await_broker(broker: Kept, tell: Tell, stopping: threading.Event) -> None:
    deadline = time.monotonic() + START_SECONDS
    (sign,) = broker.program.signs
    while not stopping.is_set() and not sign.is_given(_ANSWER_SECONDS):
        look_after(broker, tell)
        if time.monotonic() > deadline:
            last_words = log_tail(broker.program.log_path)
            raise EmbeddedError(f"the broker did not start\n{last_words}")
        time.sleep(_SOON_SECONDS)


def _await_api(address: str, kept: Sequence[Kept], tell: Tell, stopping: threading.Event) -> None:
    deadline = time.monotonic() + START_SECONDS
    with httpx.Client(base_url=address, trust_env=False, timeout=1) as client:
        while not stopping.is_set():
            with contextlib.suppress(httpx.TransportError):
                if client.get("/healthz").is_success:
                    return
            for one in kept:
                look_after(one, tell)
            if time.monotonic() > deadline:
                raise EmbeddedError(f"the API did not answer within {START_SECONDS} s")
            time.sleep(_LOOK_SECONDS)
