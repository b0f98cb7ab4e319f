"""The nonces that servers asked for (RFC 9449 §8), each for its server alone.

One that a server has not given again for `AGE_MAX` is dropped: the server may no longer want any, and some refuse a
proof with a nonce that they did not ask for. Where it does, that costs one more question.
"""

from __future__ import annotations

import re
import time
from collections import OrderedDict
from collections.abc import Callable
from threading import Lock

AGE_MAX = 120.0
"""How long a nonce is used, in seconds."""
SERVERS_MAX = 256
"""Of how many servers nonces are kept; the one that gave none for longest goes first."""

# RFC 9449 §8.1; a longer one is no nonce of anybody.
_NONCE = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]{1,512}")


class Nonces:
    """Nonces by server. Threads may share it."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = Lock()
        self._known: OrderedDict[str, tuple[str, float]] = OrderedDict()

    def of(self, server: str) -> str | None:
        """What a proof for this server must carry now."""
        with self._lock:
            nonce, until = self._known.get(server, ("", 0.0))
            if not nonce:
                return None
            if self._clock() < until:
                return nonce
            del self._known[server]
            return None

    def learn(self, server: str, nonce: str | None) -> bool:
        """Takes what an answer's `DPoP-Nonce` says; whether it is a nonce."""
        if nonce is None or not _NONCE.fullmatch(nonce):
            return False
        with self._lock:
            self._known[server] = (nonce, self._clock() + AGE_MAX)
            self._known.move_to_end(server)
            while len(self._known) > SERVERS_MAX:
                self._known.popitem(last=False)
        return True

    def forget(self, server: str) -> bool:
        """Drops a nonce that was refused; whether there was one."""
        with self._lock:
            return self._known.pop(server, None) is not None
