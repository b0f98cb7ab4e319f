"""Access tokens for requests: `session.auth = DPoPAuth("https://tickets.example.org", "read")`."""

from __future__ import annotations

from typing import Any, cast
from urllib.parse import urlsplit

import requests
from requests.auth import AuthBase
from requests.cookies import extract_cookies_to_jar
from requests.structures import CaseInsensitiveDict

from ._call import Adapter, Call, Next
from ._session import Token
from ._url import Target

__all__ = ["DPoPAuth"]

_CREDENTIALS = ("Authorization", "DPoP")


class DPoPAuth(Adapter, AuthBase):
    __doc__ = Adapter.__doc__

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        self._tool.must_take(_target(request))
        call = Call(self._tool)
        token = _sign(call, request)
        first = request
        has_left = False

        def answered(response: requests.Response, **kwargs: Any) -> requests.Response:
            nonlocal has_left
            # Where a redirect has led elsewhere, what comes after it is somebody else's word.
            has_left = has_left or _target(response.request).origin != self._tool.origin
            if has_left:
                _unsign(response.request)
                return response
            # A redirect is a request of its own, and was sent without credentials.
            own = response.request is first
            return _answered(call if own else Call(self._tool), token if own else None, response, kwargs)

        cast(Any, request).register_hook("response", answered)
        return request


def _target(request: requests.PreparedRequest) -> Target:
    parts = urlsplit(request.url or "")
    # As requests itself sends it.
    path = "/" + request.path_url.lstrip("/") if request.path_url.startswith("//") else request.path_url
    return Target.of_parts(parts.scheme, parts.hostname or "", parts.port, path)


class _Sealed(CaseInsensitiveDict[str]):
    """Headers whose credentials are for who sends them, by `items`: who looks one up, shows or keeps them has none."""

    def __init__(self, plain: Any, credentials: dict[str, str]) -> None:
        self._credentials: dict[str, str] = {}
        super().__init__(plain)
        for name in _CREDENTIALS:
            self.pop(name, None)
        self._credentials = credentials

    def items(self) -> Any:
        return [(name, self[name]) for name in self] + list(self._credentials.items())

    def copy(self) -> _Sealed:
        # A proxy's headers are added to a copy, which is sent.
        return _Sealed(self.plain(), self._credentials)

    def plain(self) -> CaseInsensitiveDict[str]:
        return CaseInsensitiveDict({name: self[name] for name in self})

    def __repr__(self) -> str:
        return repr(self.plain())

    def __reduce_ex__(self, protocol: Any) -> Any:
        return CaseInsensitiveDict, (dict(self.plain()),)


def _sign(call: Call, request: requests.PreparedRequest) -> Token:
    token = call.session._token(call.tool.wanted)
    request.headers = _Sealed(request.headers, call.credentials(token, request.method or "GET", _target(request)))
    return token


def _unsign(request: requests.PreparedRequest) -> None:
    """What was sent stays with nobody: a redirect is made of a copy of it, and errors carry it."""
    if isinstance(request.headers, _Sealed):
        request.headers = request.headers.plain()


def _answered(
    call: Call, token: Token | None, response: requests.Response, options: dict[str, Any]
) -> requests.Response:
    """Repeats a request as long as its answer asks for it. `token` is what it was sent with, none after a redirect."""
    while True:
        _unsign(response.request)
        target = _target(response.request)
        if target.origin != call.tool.origin:
            return response
        challenge, nonce = response.headers.get("www-authenticate"), response.headers.get("dpop-nonce")
        verdict = call.judge(token, target, response.status_code, [challenge] if challenge else [], nonce)
        body = response.request.body
        if verdict is Next.DONE or not (body is None or isinstance(body, (bytes, str))):
            return response
        response, token = _repeat(call, response, options)


def _repeat(call: Call, refused: requests.Response, options: dict[str, Any]) -> tuple[requests.Response, Token]:
    request = refused.request.copy()
    # Before the connection is given back, so that an error leaves the answer as it is.
    token = _sign(call, request)
    refused.content  # noqa: B018  read to its end, for the connection to be used again
    refused.close()
    # What types say of these differs from version to version.
    jar: Any = cast(Any, request)._cookies
    cast(Any, extract_cookies_to_jar)(jar, refused.request, refused.raw)
    request.prepare_cookies(jar)
    connection: Any = cast(Any, refused).connection
    try:
        response: requests.Response = connection.send(request, **options)
    finally:
        _unsign(request)
    response.history.append(refused)
    response.request = request
    return response, token
