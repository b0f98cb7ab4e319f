"""The one spelling of a URL in proofs (RFC 9449 §4.2): scheme and host in lower case, no default port, the path as it
is sent, no query, no fragment."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlsplit

_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True)
class Target:
    """Where a request goes."""

    origin: str
    """Scheme, host and port, without a default port."""
    path: str
    """As on the wire, without query."""

    @property
    def url(self) -> str:
        """The `htu` of a proof."""
        return self.origin + self.path

    @classmethod
    def of_parts(cls, scheme: str, host: str, port: int | None, path: str) -> Target:
        """A target of the parts of a URL. `path` is the request's target as it is sent, with its query perhaps.

        Raises `ValueError` where no proof can be made for it.
        """
        scheme, host = scheme.lower(), host.lower()
        if scheme not in _PORTS or not host or not host.isascii():
            raise ValueError("a protected request has an absolute http or https URL")
        if ":" in host and not host.startswith("["):
            host = f"[{host}]"
        shown = "" if port is None or port == _PORTS[scheme] else f":{port}"
        path = path.partition("#")[0].partition("?")[0] or "/"
        return cls(f"{scheme}://{host}{shown}", path)

    @classmethod
    def of_text(cls, url: str) -> Target:
        """A target of a URL that needs no change before it is sent. Raises `ValueError` as `of_parts`."""
        parts = urlsplit(url)
        return cls.of_parts(parts.scheme, parts.hostname or "", parts.port, parts.path)
