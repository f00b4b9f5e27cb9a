"""A socket in front of another whose connections can fall silent without being closed."""

import contextlib
import socket
import threading
from pathlib import Path

READ_BYTES = 1 << 16


class Silencer:
    """Passes bytes both ways between a unix socket of its own and that of a server."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._open: list[threading.Event] = []
        self._sockets: list[socket.socket] = []

    def stand_before(self, upstream: Path) -> Path:
        """Listen from now on, for a server at another path; gives the path to connect to."""
        listener = self._new_socket()
        listener.bind(str(self._path))
        listener.listen(64)
        threading.Thread(target=self._accept, args=(listener, upstream), daemon=True).start()
        return self._path

    def close(self) -> None:
        """End all connections and take no more."""
        for one in self._sockets:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()

    def fall_silent(self) -> int:
        """From now on the connections there are carry nothing; new ones do. Tells how many."""
        n_silent = len(self._open)
        for is_silent in self._open:
            is_silent.set()
        self._open.clear()
        return n_silent

    def _accept(self, listener: socket.socket, upstream: Path) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = listener.accept()
                self._sockets.append(near)
                far = self._new_socket()
                far.connect(str(upstream))
                is_silent = threading.Event()
                self._open.append(is_silent)
                for ends in ((near, far), (far, near)):
                    threading.Thread(target=_pump, args=(*ends, is_silent), daemon=True).start()

    def _new_socket(self) -> socket.socket:
        self._sockets.append(socket.socket(socket.AF_UNIX))
        return self._sockets[-1]


def _pump(source: socket.socket, target: socket.socket, is_silent: threading.Event) -> None:
    """Pass on what comes, until an end; once silent, swallow it and the end as well."""
    with contextlib.suppress(OSError):
        while data := source.recv(READ_BYTES):
            if not is_silent.is_set():
                target.sendall(data)
        if not is_silent.is_set():
            target.shutdown(socket.SHUT_WR)
