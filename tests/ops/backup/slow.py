"""A line to a real server that is slow, stops, or breaks: a proxy on loopback."""

from __future__ import annotations

import socket
import threading
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Generator

__all__ = ["Fault", "Line", "line_to"]

#: `stall`: nothing comes any more. `trickle`: a byte now and then. `reset`: the line breaks.
Fault: TypeAlias = Literal["stall", "trickle", "reset"]
_TRICKLE_S = 0.05


@dataclass
class Line:
    """The proxy; what it does to a direction begins after so many bytes of it."""

    port: int = 0
    fault: Fault | None = None
    #: Whether what goes to the server meets it, or what comes from there.
    up: bool = True
    after: int = 0
    #: Set when the fault has met somebody.
    met: threading.Event = field(default_factory=threading.Event)
    ended: threading.Event = field(default_factory=threading.Event)
    _moved: int = 0

    def break_(self, fault: Fault, *, up: bool, after: int) -> None:
        """Begin to be bad."""
        self.met.clear()
        self._moved, self.up, self.after, self.fault = 0, up, after, fault

    def heal(self) -> None:
        """Be good again; who was kept waiting has lost his line."""
        self.fault = None

    def pump(self, source: socket.socket, target: socket.socket, *, up: bool) -> None:
        """Move bytes one way until the line ends."""
        spoilt = False
        with suppress(OSError):
            while not self.ended.is_set() and (text := source.recv(16 << 10)):
                if self.fault is not None and up == self.up:
                    self._moved += len(text)
                    spoilt = spoilt or self._moved > self.after
                if not spoilt:
                    target.sendall(text)
                elif not self._spoil(text, target):
                    break
        for end in (source, target):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def _spoil(self, text: bytes, target: socket.socket) -> bool:
        """Do what is bad, and return whether the line lives on."""
        fault = self.fault
        self.met.set()
        if fault == "stall":
            while self.fault == "stall" and not self.ended.wait(_TRICKLE_S):
                pass
        elif fault == "trickle":
            for byte in text:
                target.sendall(bytes([byte]))
                if self.fault != "trickle" or self.ended.wait(_TRICKLE_S):
                    break
        return False


@contextmanager
def line_to(port: int) -> Generator[Line]:
    """Yield a line to a port of this machine."""
    line = Line()
    ends: list[socket.socket] = []
    with socket.create_server(("127.0.0.1", 0)) as server:
        line.port = server.getsockname()[1]

        def accept() -> None:
            while not line.ended.is_set():
                with suppress(OSError):
                    near, _ = server.accept()
                    far = socket.create_connection(("127.0.0.1", port), 30)
                    far.settimeout(None)
                    ends.extend((near, far))
                    for source, target, up in ((near, far, True), (far, near, False)):
                        threading.Thread(
                            target=line.pump, args=(source, target), kwargs={"up": up}, daemon=True
                        ).start()

        threading.Thread(target=accept, daemon=True).start()
        try:
            yield line
        finally:
            line.ended.set()
            with suppress(OSError):
                server.shutdown(socket.SHUT_RDWR)
            for end in ends:
                end.close()
