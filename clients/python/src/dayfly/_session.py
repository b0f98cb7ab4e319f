"""A session: one key, the tokens that are bound to it, the nonces that servers asked for. Threads may share it."""

from __future__ import annotations

import logging
import os
import time
import weakref
from collections import OrderedDict
from dataclasses import dataclass, field
from threading import Lock
from typing import NoReturn

from ._daemon import Daemon, find_socket
from ._errors import DayflyError
from ._key import Key
from ._nonces import Nonces
from ._secret import Secret

log = logging.getLogger("dayfly")

TOKENS_MAX = 256
"""How many tokens a session keeps; the one that was not used for longest goes first."""
AGAIN_AFTER = 1.0
"""After a renewal that failed while the token is still good, the next comes so many seconds later."""
MARGIN_MAX = 10.0
"""So long before its end a token is no longer sent, at most, in seconds; of a short life a tenth."""


def _now() -> float:
    # Also runs on while the machine sleeps, unlike the monotonic clock.
    return time.clock_gettime(time.CLOCK_BOOTTIME)


@dataclass(frozen=True)
class Wanted:
    """What a token is for."""

    resource: str
    """The tool's audience."""
    scope: str
    """Scopes with a space between each; empty for all that is granted."""

    @classmethod
    def of(cls, resource: str, scope: str) -> Wanted:
        return cls(resource, " ".join(sorted(set(scope.split()))))


@dataclass(frozen=True)
class Token:
    """An access token."""

    text: Secret
    scope: str
    renew_at: float = field(repr=False)
    """From then on it is renewed, and still good."""
    good_until: float = field(repr=False)


@dataclass
class _Place:
    """Where one token is kept. The lock is held by who asks for a new one."""

    lock: Lock = field(default_factory=Lock)
    token: Token | None = None
    again_at: float = 0.0
    """Not renewed before, while the token is good."""
    attempts: int = 0
    failure: DayflyError | None = None
    """How the last attempt ended."""


class _State:
    """What belongs to one process."""

    def __init__(self) -> None:
        self.key = Key()
        self.nonces = Nonces()
        self.lock = Lock()
        self.places: OrderedDict[Wanted, _Place] = OrderedDict()


class Session:
    """One key in memory, and what is bound to it.

    `socket` is the daemon's `http.sock`; without it `DAYFLY_HTTP_SOCKET`, then `DAYFLY_HOME`, then the usual places.
    `agent` chooses among several agents of this process; without it, it is that of the oldest entry. `timeout` is how
    long the daemon may take for one step, in seconds.

    A child after a fork has a key of its own. A session can be neither copied nor pickled.
    """

    def __init__(
        self, socket: str | os.PathLike[str] | None = None, *, agent: str | None = None, timeout: float = 10.0
    ) -> None:
        self._daemon = Daemon(find_socket(socket), timeout)
        self._agent = agent
        self._state = _State()
        _sessions.add(self)

    @property
    def thumbprint(self) -> str:
        """The key's thumbprint (RFC 7638), which is the `cnf.jkt` of its tokens."""
        return self._state.key.thumbprint

    def __repr__(self) -> str:
        return f"Session(socket={os.fspath(self._daemon.path)!r}, key={self.thumbprint})"

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError("a session is neither copied nor pickled: its key does not leave the process")

    def _cached(self, wanted: Wanted) -> Token | None:
        """A token that needs no renewal now. Never waits."""
        place = self._state.places.get(wanted)
        token = place.token if place else None
        return token if token and _now() < token.renew_at else None

    def _token(self, wanted: Wanted) -> Token:
        """A good token. Of several callers one asks the daemon; the others wait, or take the old one while it is good.

        Raises `DayflyError`.
        """
        state = self._state
        place = self._place(state, wanted)
        token, attempts, now = place.token, place.attempts, _now()
        if token and now < token.renew_at:
            return token
        if token and now < token.good_until:
            if now >= place.again_at and place.lock.acquire(blocking=False):
                try:
                    if place.token is token:
                        token = self._renew(state, wanted, place)
                except DayflyError as error:
                    place.again_at = _now() + AGAIN_AFTER
                    log.warning("the token for %s is not renewed yet, and still good: %s", wanted.resource, error)
                finally:
                    place.lock.release()
            return token
        with place.lock:
            if place.token and _now() < place.token.good_until:
                return place.token
            # Whoever waited for an attempt that failed has its answer.
            if place.attempts != attempts and place.failure:
                raise place.failure._again()
            return self._renew(state, wanted, place)

    def _place(self, state: _State, wanted: Wanted) -> _Place:
        with state.lock:
            place = state.places.setdefault(wanted, _Place())
            state.places.move_to_end(wanted)
            while len(state.places) > TOKENS_MAX:
                state.places.popitem(last=False)
            return place

    def _renew(self, state: _State, wanted: Wanted, place: _Place) -> Token:
        form = {"resource": wanted.resource, "scope": wanted.scope, "client_id": self._agent}
        asked = _now()
        try:
            said = {name: value for name, value in form.items() if value}
            text, lifetime, scope = self._daemon.issue(state.key, state.nonces, said)
        except DayflyError as error:
            place.failure = error
            raise
        else:
            place.failure = None
        finally:
            place.attempts += 1
        # Its end is a whole second, up to one before the lifetime is over.
        sure = max(lifetime - 1, lifetime / 4)
        token = Token(text, scope, asked + sure * 3 / 4, asked + sure - min(MARGIN_MAX, sure / 10))
        place.token = token
        log.debug("a token for %s with scope %r, for %d s", wanted.resource, scope, lifetime)
        return token

    def _spoil(self, wanted: Wanted, token: Token) -> None:
        """A resource refused this token: the next caller gets another one."""
        place = self._state.places.get(wanted)
        if place and place.token is token:
            place.token = None
            log.debug("the token for %s was refused", wanted.resource)

    def _after_fork(self) -> None:
        self._state = _State()


_sessions: weakref.WeakSet[Session] = weakref.WeakSet()
_default: Session | None = None
_default_lock = Lock()


def default_session() -> Session:
    """The session of this process, for whoever names none."""
    global _default
    with _default_lock:
        if _default is None:
            _default = Session()
        return _default


def _after_fork() -> None:
    global _default_lock
    # Another thread of the parent may have held it.
    _default_lock = Lock()
    for session in list(_sessions):
        session._after_fork()


os.register_at_fork(after_in_child=_after_fork)
