"""Access tokens for httpx: `httpx.Client(auth=DPoPAuth("https://tickets.example.org", "read"))`."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Generator

import httpx

from ._call import Adapter
from ._flow import Flow, Sealing

__all__ = ["DPoPAuth"]


class _Sealed(Sealing, httpx.Headers):
    pass


class DPoPAuth(Flow, httpx.Auth):
    __doc__ = Adapter.__doc__

    _sealed = _Sealed
    _bytes = httpx.ByteStream

    def sync_auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        return self._sync(request)

    def async_auth_flow(self, request: httpx.Request) -> AsyncGenerator[httpx.Request, httpx.Response]:
        return self._async(request)
