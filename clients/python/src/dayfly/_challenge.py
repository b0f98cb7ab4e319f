"""What a resource wants that refused a request (RFC 9110 §11.6.1, RFC 9449 §7.1)."""

from __future__ import annotations

import re
from collections.abc import Iterable

_TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_PARAMETER = re.compile(rf'({_TOKEN})[ \t]*=[ \t]*(?:"((?:[^"\\]|\\.)*)"|({_TOKEN}))')
_SCHEME = re.compile(rf"({_TOKEN})(?:[ \t]+(.*))?", re.DOTALL)
# What stands between commas, which may stand within quotes too. A quote that is not closed takes all the rest: looked
# for from each quote anew, its end would cost the square of the length.
_PART = re.compile(r'(?:[^",]|"(?:[^"\\]|\\.)*"|"(?:[^"\\]|\\.)*)+')

_BYTES_MAX = 8 * 1024


def error_of(values: Iterable[str]) -> str | None:
    """The `error` of the DPoP challenge in the values of `WWW-Authenticate`."""
    for value in values:
        scheme = ""
        for part in _PART.findall(value[:_BYTES_MAX]):
            text = part.strip(" \t")
            parameter = _PARAMETER.fullmatch(text)
            if parameter is None:
                begun = _SCHEME.fullmatch(text)
                if begun is None:
                    continue
                scheme = begun[1].lower()
                parameter = _PARAMETER.fullmatch((begun[2] or "").strip(" \t"))
            if scheme == "dpop" and parameter is not None and parameter[1].lower() == "error":
                return str(parameter[2] if parameter[2] is not None else parameter[3])
    return None
