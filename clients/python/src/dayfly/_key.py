"""The key of one process, and the proofs that it signs (RFC 9449 §4.2).

The key is made in memory. No name leads to it from outside: what can be had is what it signs.
"""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
import time
from collections.abc import Callable
from typing import NoReturn

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256

from ._secret import Secret

_BYTES = 32


def _encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")


def _json(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def _signer() -> tuple[Callable[[bytes], bytes], dict[str, str]]:
    """A new key: what signs by it, and its public half as JWK."""
    private = ec.generate_private_key(ec.SECP256R1())
    numbers = private.public_key().public_numbers()
    point = {name: _encoded(number.to_bytes(_BYTES, "big")) for name, number in (("x", numbers.x), ("y", numbers.y))}

    def sign(data: bytes) -> bytes:
        r, s = decode_dss_signature(private.sign(data, ec.ECDSA(SHA256())))
        return r.to_bytes(_BYTES, "big") + s.to_bytes(_BYTES, "big")

    return sign, {"crv": "P-256", "kty": "EC", **point}


class Key:
    """A key that proves who holds a token."""

    __slots__ = ("_header", "_sign", "thumbprint")

    def __init__(self) -> None:
        self._sign, jwk = _signer()
        self._header = _encoded(_json({"typ": "dpop+jwt", "alg": "ES256", "jwk": jwk}))
        # RFC 7638 §3: the members in the order of their names, which is that of `jwk`.
        self.thumbprint = _encoded(hashlib.sha256(_json(jwk)).digest())

    def proof(self, method: str, url: str, nonce: str | None = None, token: Secret | None = None) -> str:
        """A new proof for one request. With a token it is for a resource, without for a token endpoint."""
        claims: dict[str, object] = {
            "jti": secrets.token_urlsafe(16),
            "htm": method,
            "htu": url,
            "iat": int(time.time()),
        }
        if token is not None:
            claims["ath"] = _encoded(hashlib.sha256(token.expose().encode("ascii")).digest())
        if nonce is not None:
            claims["nonce"] = nonce
        signed = f"{self._header}.{_encoded(_json(claims))}"
        return f"{signed}.{_encoded(self._sign(signed.encode('ascii')))}"

    def __repr__(self) -> str:
        return f"Key({self.thumbprint})"

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError("a key is neither copied nor pickled")
