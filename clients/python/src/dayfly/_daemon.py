"""The daemon's token endpoint: HTTP/1.1 over a Unix socket, by the standard library alone."""

from __future__ import annotations

import http.client
import json
import os
import re
import socket
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

from ._errors import Refused, Unavailable
from ._key import Key
from ._nonces import Nonces
from ._secret import Secret

METADATA = "/.well-known/oauth-authorization-server"

BODY_BYTES_MAX = 64 * 1024
"""The longest answer that is read."""
TOKEN_BYTES_MAX = 8 * 1024
LIFETIME_MAX = 24 * 3600
"""Longer than any token lives, in seconds."""

_TOKEN = re.compile(r"[A-Za-z0-9._~+/-]+=*")
_ERROR = re.compile(r"[\x20-\x21\x23-\x5b\x5d-\x7e]{1,64}")


def find_socket(given: str | os.PathLike[str] | None = None) -> Path:
    """Where the daemon's `http.sock` is: what is given, `DAYFLY_HTTP_SOCKET`, `DAYFLY_HOME`, else that of one's own
    daemon if it is there, else the system's."""
    if given is not None:
        return Path(given)
    if named := os.environ.get("DAYFLY_HTTP_SOCKET"):
        return Path(named)
    if home := os.environ.get("DAYFLY_HOME"):
        return Path(home) / "http.sock"
    system = Path("/run/dayfly/http.sock")
    if os.geteuid() == 0:
        return system
    own = _folder_of_own() / "http.sock"
    return own if own.is_socket() or not system.is_socket() else system


def _folder_of_own() -> Path:
    """Of an ordinary user's daemon, as the daemon itself chooses it."""

    def xdg(name: str) -> Path | None:
        value = os.environ.get(name, "")
        return Path(value) if value.startswith("/") else None

    if run := xdg("XDG_RUNTIME_DIR"):
        return run / "dayfly"
    state = xdg("XDG_STATE_HOME") or Path(os.environ.get("HOME", "/nonexistent")) / ".local/state"
    return state / "dayfly/run"


class _Connection(http.client.HTTPConnection):
    # Whoever turns it on for all connections does not mean to print tokens.
    debuglevel = 0

    def __init__(self, path: Path, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            sock.settimeout(self.timeout)
            sock.connect(os.fspath(self._path))
        except BaseException:
            sock.close()
            raise
        self.sock = sock


class _Answer:
    def __init__(self, response: http.client.HTTPResponse) -> None:
        self.status = response.status
        self.nonce = response.headers.get("dpop-nonce")
        after = response.headers.get("retry-after", "")
        self.retry_after = int(after) if after.isascii() and after.isdigit() and len(after) < 8 else None
        body = response.read(BODY_BYTES_MAX + 1)
        self.document = _document(body) if len(body) <= BODY_BYTES_MAX else {}

    def text(self, name: str) -> str:
        value = self.document.get(name)
        return value if isinstance(value, str) else ""


def _document(body: bytes) -> dict[str, Any]:
    # The error of a reader has the whole body in it, so that it does not leave this function.
    try:
        value = json.loads(body)
    except ValueError:
        value = None
    return value if isinstance(value, dict) else {}


class Daemon:
    """One daemon, by its socket."""

    def __init__(self, path: Path, timeout: float) -> None:
        self.path = path
        self._timeout = timeout

    def issue(self, key: Key, nonces: Nonces, form: dict[str, str]) -> tuple[Secret, int, str]:
        """A token that is bound to the key, how many seconds it lives, and its scope.

        Raises `Refused`, and `Unavailable`.
        """
        connection = _Connection(self.path, self._timeout)
        try:
            return self._issue(connection, key, nonces, urlencode({"grant_type": "client_credentials", **form}))
        except (OSError, http.client.HTTPException) as error:
            failed = error
        finally:
            connection.close()
        raise Unavailable(
            f"the Dayfly daemon does not answer at {self.path}: {failed or type(failed).__name__}; is it running "
            "(`dayfly status`)? Another socket is named by the argument `socket` or DAYFLY_HTTP_SOCKET"
        ) from failed

    def _issue(self, connection: _Connection, key: Key, nonces: Nonces, form: str) -> tuple[Secret, int, str]:
        # The daemon may be another one than last time, so it is asked each time what proofs are for.
        url = self._ask(connection, "GET", METADATA).text("token_endpoint")
        if not url.startswith(("https://", "http://")):
            raise Unavailable(f"what answers at {self.path} is no token endpoint")
        # Its nonces are its own, and no resource's.
        server = f"token endpoint {url}"
        for last in (False, True):
            # A proof has no name here: errors carry the variables of where they were raised.
            answer = self._ask(connection, "POST", urlsplit(url).path, form, key.proof("POST", url, nonces.of(server)))
            is_new = nonces.learn(server, answer.nonce)
            if answer.status == 200:
                return self._token(answer)
            error = answer.text("error")
            again = (error == "use_dpop_nonce" and is_new) or (error == "invalid_dpop_proof" and nonces.forget(server))
            if last or not again:
                break
        raise self._refusal(answer, error)

    def _ask(
        self, connection: _Connection, method: str, path: str, form: str | None = None, proof: str | None = None
    ) -> _Answer:
        headers = {} if proof is None else {"content-type": "application/x-www-form-urlencoded", "dpop": proof}
        connection.request(method, path, form, headers)
        return _Answer(connection.getresponse())

    def _token(self, answer: _Answer) -> tuple[Secret, int, str]:
        token, lifetime = answer.text("access_token"), answer.document.get("expires_in")
        # RFC 9449 §5: a token that is not bound is not for us.
        if answer.text("token_type").lower() != "dpop":
            raise Unavailable(f"what answers at {self.path} gave a token that is bound to no key")
        is_token = len(token) <= TOKEN_BYTES_MAX and _TOKEN.fullmatch(token)
        if not is_token or type(lifetime) is not int or not 0 < lifetime <= LIFETIME_MAX:
            raise Unavailable(f"what answers at {self.path} gave no token that can be used")
        return Secret(token), lifetime, answer.text("scope")

    def _refusal(self, answer: _Answer, error: str) -> Refused | Unavailable:
        if not _ERROR.fullmatch(error):
            return Unavailable(f"what answers at {self.path} said {answer.status} and not why")
        words = "".join(char if char.isprintable() else " " for char in answer.text("error_description")[:1024])
        return Refused(error, words, answer.status, answer.retry_after)
