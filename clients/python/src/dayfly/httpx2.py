"""Access tokens for httpx2: `httpx2.Client(auth=DPoPAuth("https://tickets.example.org", "read"))`."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Generator

import httpx2

from ._call import Adapter
from ._flow import Flow, Sealing

__all__ = ["DPoPAuth"]


class _Sealed(Sealing, httpx2.Headers):
    pass


class DPoPAuth(Flow, httpx2.Auth):
    __doc__ = Adapter.__doc__

    _sealed = _Sealed
    _bytes = httpx2.ByteStream

    def sync_auth_flow(self, request: httpx2.Request) -> Generator[httpx2.Request, httpx2.Response, None]:
        return self._sync(request)

    def async_auth_flow(self, request: httpx2.Request) -> AsyncGenerator[httpx2.Request, httpx2.Response]:
        return self._async(request)
