"""The flow of requests through httpx and httpx2, which differ in their names alone. Imports neither."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Generator
from typing import Any

import anyio.to_thread

from ._call import Adapter, Call, Next
from ._session import Token
from ._url import Target

_Headers: Any = object


class Sealing(_Headers):  # type: ignore[misc]
    """Headers whose credentials are sent and nothing else: who copies them for a redirect, or shows them, has none.

    A class beside the `Headers` of one library.
    """

    def __init__(self, plain: Any, credentials: dict[str, str]) -> None:
        self._credentials: list[tuple[bytes, bytes]] = []
        super().__init__(plain)
        for name in credentials:
            self.pop(name, None)
        self._credentials = [(name.encode("ascii"), value.encode("ascii")) for name, value in credentials.items()]

    @property
    def raw(self) -> list[tuple[bytes, bytes]]:
        plain: list[tuple[bytes, bytes]] = super().raw
        return plain + self._credentials

    def forget(self) -> None:
        """They were sent, or will not be."""
        self._credentials = []

    def __reduce_ex__(self, protocol: Any) -> Any:
        # As the library's own headers: what is kept of a request, or copied, is without them.
        return type(self).__mro__[2], (super().raw,)


class Flow(Adapter):
    """An `Auth` of one library, but for its types."""

    # Of the library, set below each class of it.
    _sealed: Callable[[Any, dict[str, str]], Any]
    _bytes: type

    def _sync(self, request: Any) -> Generator[Any, Any, None]:
        call = self._begin(request)
        while request is not None:
            token = call.session._token(self._tool.wanted)
            sent = self._signed(call, token, request)
            try:
                response = yield sent
            finally:
                sent.headers.forget()
            request = self._next(call, token, request, response)

    async def _async(self, request: Any) -> AsyncGenerator[Any, Any]:
        call = self._begin(request)
        while request is not None:
            token = call.session._cached(self._tool.wanted)
            if token is None:
                ask = call.session._token
                token = await anyio.to_thread.run_sync(ask, self._tool.wanted, abandon_on_cancel=True)
            sent = self._signed(call, token, request)
            try:
                response = yield sent
            finally:
                sent.headers.forget()
            request = self._next(call, token, request, response)

    def _begin(self, request: Any) -> Call:
        self._tool.must_take(_target(request))
        return Call(self._tool)

    def _signed(self, call: Call, token: Token, request: Any) -> Any:
        sealed = type(self)._sealed
        request.headers = sealed(request.headers, call.credentials(token, request.method, _target(request)))
        return request

    def _next(self, call: Call, token: Token, sent: Any, response: Any) -> Any:
        """The request that comes after this answer, which may be that to a redirect of what was sent."""
        answered = response.request
        target = _target(answered)
        # Where a redirect has led elsewhere, what comes after it is somebody else's word.
        if any(_target(each.request).origin != self._tool.origin for each in [*response.history, response]):
            return None
        challenges, nonce = response.headers.get_list("www-authenticate"), response.headers.get("dpop-nonce")
        verdict = call.judge(token if answered is sent else None, target, response.status_code, challenges, nonce)
        # What was a stream is gone.
        return answered if verdict is Next.AGAIN and isinstance(answered.stream, type(self)._bytes) else None


def _target(request: Any) -> Target:
    url = request.url
    return Target.of_parts(url.scheme, url.raw_host.decode("ascii"), url.port, url.raw_path.decode("ascii"))
