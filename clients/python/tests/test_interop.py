"""joserfc, which knows neither us nor the daemon, believes the tokens by the published keys, and the proofs."""

from __future__ import annotations

import base64
import http.client
import json
import socket
import time
from typing import Any

import pytest
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, KeySet

from dayfly import Session
from dayfly._call import Call, Tool
from dayfly._url import Target
from stage import Stage

Token = tuple[str, str, Session]


@pytest.fixture
def sent(stage: Stage) -> Token:
    """A token and a proof as they are sent, and whose they are."""
    session = Session(stage.socket)
    call = Call(Tool(stage.origin, "read", None, session))
    token = session._token(call.tool.wanted)
    headers = call.credentials(token, "GET", Target.of_text(f"{stage.origin}/api/items/7?x=1"))
    return headers["Authorization"].removeprefix("DPoP "), headers["DPoP"], session


def _published(stage: Stage, path: str) -> Any:
    connection = http.client.HTTPConnection("localhost")
    connection.sock = socket.socket(socket.AF_UNIX)
    connection.sock.connect(str(stage.socket))
    connection.request("GET", path)
    answer = connection.getresponse()
    assert answer.status == 200
    return json.load(answer)


def _keys(stage: Stage) -> KeySet:
    metadata = _published(stage, "/.well-known/oauth-authorization-server")
    return KeySet.import_key_set(_published(stage, "/" + metadata["jwks_uri"].split("/", 3)[3]))


def _claims(stage: Stage, **more: Any) -> jwt.JWTClaimsRegistry:
    expected = {"iss": "https://example.org/oauth", "aud": stage.origin, "client_id": "reporter", **more}
    asked: Any = {name: {"essential": True, "value": value} for name, value in expected.items()}
    return jwt.JWTClaimsRegistry(leeway=0, exp={"essential": True}, jti={"essential": True}, **asked)


def _altered(token: str, part: int) -> str:
    parts = token.split(".")
    middle = len(parts[part]) // 2
    parts[part] = parts[part][:middle] + ("A" if parts[part][middle] != "A" else "B") + parts[part][middle + 1 :]
    return ".".join(parts)


def test_a_token_is_believed_by_the_published_keys(stage: Stage, sent: Token) -> None:
    token, _, session = sent
    believed = jwt.decode(token, _keys(stage), algorithms=["ES256"])
    assert (believed.header["typ"], believed.header["alg"]) == ("at+jwt", "ES256")
    _claims(stage).validate(believed.claims)
    assert believed.claims["cnf"] == {"jkt": session.thumbprint} and believed.claims["scope"] == "read"
    assert believed.claims["sub"] == "spiffe://example.org/reporter"


def test_what_is_not_ours_or_not_for_it_is_not_believed(stage: Stage, sent: Token) -> None:
    token, keys = sent[0], _keys(stage)
    for part in range(3):
        with pytest.raises((JoseError, ValueError)):
            jwt.decode(_altered(token, part), keys, algorithms=["ES256"])
    other = KeySet([ECKey.generate_key("P-256", {"kid": jwt.decode(token, keys).header["kid"]})])
    with pytest.raises(JoseError):
        jwt.decode(token, other, algorithms=["ES256"])
    claims = jwt.decode(token, keys).claims
    for wrong in ({"aud": "https://other.example"}, {"iss": "https://example.org"}, {"client_id": "admin"}):
        with pytest.raises(JoseError):
            _claims(stage, **wrong).validate(claims)
    with pytest.raises(JoseError):
        jwt.JWTClaimsRegistry(now=int(time.time()) + 3600).validate(claims)


def test_a_proof_is_believed_by_its_own_key_which_the_token_names(stage: Stage, sent: Token) -> None:
    _, proof, session = sent
    header = json.loads(_segment(proof, 0))
    assert header["typ"] == "dpop+jwt" and "d" not in header["jwk"]
    key = ECKey.import_key(header["jwk"])
    assert not key.is_private and key.thumbprint() == session.thumbprint
    claims = jwt.decode(proof, key, algorithms=["ES256"]).claims
    assert (claims["htm"], claims["htu"]) == ("GET", f"{stage.origin}/api/items/7")
    assert abs(claims["iat"] - time.time()) < 5
    for wrong in (_altered(proof, 1), _altered(proof, 2)):
        with pytest.raises((JoseError, ValueError)):
            jwt.decode(wrong, key, algorithms=["ES256"])
    with pytest.raises(JoseError):
        jwt.decode(proof, ECKey.generate_key("P-256"), algorithms=["ES256"])


def _segment(token: str, part: int) -> bytes:
    text = token.split(".")[part]
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
