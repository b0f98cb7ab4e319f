"""What needs no daemon: spellings, challenges, nonces, what is shown, and answers that no daemon gives."""

from __future__ import annotations

import base64
import copy
import hashlib
import json
import pickle
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256

import dayfly
import dayfly.httpx as _httpx
import dayfly.requests as _requests
from dayfly import Session, Unavailable
from dayfly._call import Call, Next, Tool
from dayfly._challenge import error_of
from dayfly._daemon import BODY_BYTES_MAX, find_socket
from dayfly._key import Key
from dayfly._nonces import AGE_MAX, SERVERS_MAX, Nonces
from dayfly._secret import Secret
from dayfly._session import TOKENS_MAX, Token, Wanted, _State
from dayfly._url import Target
from dayfly.httpx import DPoPAuth


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("HTTPS://Tool.Example.ORG:443/a/b?c=d#e", "https://tool.example.org/a/b"),
        ("http://127.0.0.1:80", "http://127.0.0.1/"),
        ("https://tool.example.org:8443/a%2Fb/~c", "https://tool.example.org:8443/a%2Fb/~c"),
        ("https://u:p@tool.example.org/x?y", "https://tool.example.org/x"),
        ("https://[::1]:8443/?q", "https://[::1]:8443/"),
    ],
)
def test_a_url_has_one_spelling(url: str, expected: str) -> None:
    assert Target.of_text(url).url == expected


@pytest.mark.parametrize("url", ["/a", "ftp://a/b", "https:///a", "urn:tool", "https://tööl.example.org/"])
def test_what_is_no_url_of_a_request_is_refused(url: str) -> None:
    with pytest.raises(ValueError):
        Target.of_text(url)


def test_an_audience_that_is_no_url_needs_a_base_url() -> None:
    with pytest.raises(ValueError, match="base_url"):
        DPoPAuth("urn:example:tickets")
    assert "https://t.example" in repr(DPoPAuth("urn:example:tickets", base_url="https://T.example:443/api"))


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (['DPoP error="use_dpop_nonce", algs="ES256"'], "use_dpop_nonce"),
        (['Bearer error="x", DPoP algs="ES256, EdDSA", error=invalid_token'], "invalid_token"),
        (['Bearer error="invalid_request"', 'dpop realm="a, DPoP error=\\"b\\"", Error = "c"'], "c"),
        (['DPoP algs="ES256"'], None),
        (['Bearer realm="DPoP error=\\"invalid_token\\""'], None),
        (["Negotiate abc==, DPoP error=invalid_token"], "invalid_token"),
        (['DPoP error="', ",,,", "", "="], None),
    ],
)
def test_the_dpop_challenge_is_found(values: list[str], expected: str | None) -> None:
    assert error_of(values) == expected


def test_a_nonce_is_its_servers_alone_and_not_for_long() -> None:
    now = [0.0]
    nonces = Nonces(lambda: now[0])
    assert nonces.learn("https://a", "n1")
    assert (nonces.of("https://a"), nonces.of("https://b")) == ("n1", None)
    for odd in (None, "", 'a"b', "a\nb", "é", "x" * 513):
        assert not nonces.learn("https://a", odd)
    now[0] = AGE_MAX - 1
    assert nonces.of("https://a") == "n1"
    now[0] = AGE_MAX
    assert nonces.of("https://a") is None
    for each in range(SERVERS_MAX + 1):
        nonces.learn(f"https://{each}", "n")
    assert nonces.of("https://0") is None and nonces.of("https://1") == "n"


def test_a_server_that_wants_no_nonce_gets_none_after_it_said_so(tmp_path: Path) -> None:
    tool = Tool("https://a.example", "", None, Session(tmp_path / "none"))
    target, token = Target.of_text("https://a.example/x"), Token(Secret("t"), "", 0, 0)
    call = Call(tool)
    assert call.judge(token, target, 401, ['DPoP error="use_dpop_nonce"'], "n") is Next.AGAIN
    assert _claims(call.credentials(token, "GET", target)["DPoP"])["nonce"] == "n"
    assert call.judge(token, target, 401, ['DPoP error="invalid_dpop_proof"'], None) is Next.AGAIN
    assert "nonce" not in _claims(call.credentials(token, "GET", target)["DPoP"])
    # Each cause once: no server keeps a client at it.
    for error in ("use_dpop_nonce", "invalid_dpop_proof"):
        assert call.judge(token, target, 401, [f'DPoP error="{error}"'], "m") is Next.DONE
    assert call.judge(token, target, 401, ['DPoP error="invalid_token"'], None) is Next.AGAIN
    assert call.judge(token, target, 401, ['DPoP error="invalid_token"'], None) is Next.DONE
    assert Call(tool).judge(token, target, 401, ['DPoP error="use_dpop_nonce"'], None) is Next.DONE
    assert Call(tool).judge(token, target, 403, ['DPoP error="invalid_token"'], None) is Next.DONE


def test_a_proof_is_for_its_request() -> None:
    key, token = Key(), Secret("Kz~8mXK1EalYznwH-LC-1fBAo.4Ljp~zsPE_NeO.gxU")
    proofs = [key.proof("GET", "https://a/x", "n", token), key.proof("GET", "https://a/x", "n", token)]
    header = json.loads(_decoded(proofs[0].split(".")[0]))
    assert (header["typ"], header["alg"], sorted(header["jwk"])) == ("dpop+jwt", "ES256", ["crv", "kty", "x", "y"])
    claims = [_claims(proof) for proof in proofs]
    assert claims[0]["jti"] != claims[1]["jti"] and len(str(claims[0]["jti"])) >= 20
    # RFC 9449 §7.1, Figure 13.
    assert claims[0]["ath"] == "fUHyO2r2Z3DZ53EsNrWBb0xWXoaNy59IiKCAqksmQEo"
    assert (claims[0]["htm"], claims[0]["htu"], claims[0]["nonce"]) == ("GET", "https://a/x", "n")
    x, y = (int.from_bytes(_decoded(header["jwk"][name]), "big") for name in "xy")
    public = ec.EllipticCurvePublicNumbers(x, y, ec.SECP256R1()).public_key()
    signed, _, signature = proofs[0].rpartition(".")
    raw = _decoded(signature)
    r, s = (int.from_bytes(half, "big") for half in (raw[:32], raw[32:]))
    public.verify(encode_dss_signature(r, s), signed.encode(), ec.ECDSA(SHA256()))
    canonical = json.dumps(header["jwk"], sort_keys=True, separators=(",", ":")).encode()
    assert _decoded(key.thumbprint) == hashlib.sha256(canonical).digest()


def test_secrets_are_neither_shown_nor_copied(tmp_path: Path) -> None:
    session = Session(tmp_path / "none")
    token = Token(Secret("hidden"), "read", 0, 0)
    for thing in (session, session._state.key, token.text):
        for leave in (pickle.dumps, copy.copy, copy.deepcopy):
            with pytest.raises(TypeError):
                leave(thing)
    shown = f"{token!r} {token.text} {session!r} {session._state.key!r} {vars(session)}"
    assert "hidden" not in shown and "Secret(..)" in shown


CREDENTIALS = {"Authorization": "DPoP eyJ0b2tlbg", "DPoP": "eyJwcm9vZg"}


def test_headers_give_their_credentials_to_who_sends_them_alone() -> None:
    ours, theirs = _httpx._Sealed({"a": "b"}, CREDENTIALS), _requests._Sealed({"a": "b", "DPoP": "x"}, CREDENTIALS)
    assert dict(ours.raw)[b"DPoP"] == b"eyJwcm9vZg" and dict(theirs.items()) == {"a": "b", **CREDENTIALS}
    assert dict(theirs.copy().items()) == dict(theirs.items()), "which a proxy's headers are added to"
    for sealed in (ours, theirs):
        for shown in (
            sealed,
            dict(sealed),
            list(sealed),
            pickle.dumps(sealed),
            copy.deepcopy(sealed),
            type(sealed)(sealed, {}),
            sealed.get("Authorization"),
        ):
            assert "eyJ" not in str(shown)
        for kept in (pickle.loads(pickle.dumps(sealed)), copy.copy(copy.deepcopy(sealed))):
            assert list(kept.items()) == [("a", "b")]
    ours.forget()
    assert ours.raw == [(b"a", b"b")]


def test_a_challenge_of_quotes_costs_its_length() -> None:
    # The square of it would be minutes.
    assert [error_of([text * 500_000]) for text in ('"', '\\"', '"\\"', 'DPoP a="', '",')] == [None] * 5
    assert error_of(['DPoP error="invalid_token", x="a,b']) == "invalid_token"


def test_tokens_have_a_limit(tmp_path: Path) -> None:
    session, state = Session(tmp_path / "none"), _State()
    for each in range(TOKENS_MAX + 1):
        session._place(state, Wanted(str(each), ""))
    assert len(state.places) == TOKENS_MAX and Wanted("0", "") not in state.places


def test_scopes_in_another_order_are_one_token() -> None:
    assert Wanted.of("a", "write read  read") == Wanted.of("a", "read write")


def test_the_socket_is_found_as_the_daemon_has_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("DAYFLY_HTTP_SOCKET", "DAYFLY_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("os.geteuid", lambda: 0)
    assert find_socket() == Path("/run/dayfly/http.sock")
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    monkeypatch.setenv("XDG_RUNTIME_DIR", "relative")
    monkeypatch.setenv("HOME", str(tmp_path))
    own = tmp_path / ".local/state/dayfly/run/http.sock"
    assert find_socket() in (own, Path("/run/dayfly/http.sock"))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    (tmp_path / "dayfly").mkdir()
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(tmp_path / "dayfly/http.sock"))
        assert find_socket() == tmp_path / "dayfly/http.sock"
    monkeypatch.setenv("DAYFLY_HOME", "/h")
    assert find_socket() == Path("/h/http.sock")
    monkeypatch.setenv("DAYFLY_HTTP_SOCKET", "/s")
    assert (find_socket(), find_socket("/given")) == (Path("/s"), Path("/given"))


METADATA = {"token_endpoint": "https://example.org/oauth/token"}
GOOD = {"access_token": "a.b.c", "token_type": "DPoP", "expires_in": 60, "scope": "read"}


class Odd:
    """Somebody at a socket who is no daemon. Answers in turn; what is not text ends the connection, or says nothing."""

    def __init__(self, path: Path, *answers: bytes | None) -> None:
        self.asked = 0
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.bind(str(path))
        self._socket.listen(16)
        self._held: list[socket.socket] = []
        threading.Thread(target=self._serve, args=(answers,), daemon=True).start()

    def _serve(self, answers: tuple[bytes | None, ...]) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            self.asked += 1
            self._held.append(connection)
            for answer in answers:
                if not connection.recv(65536) or answer is None:
                    break
                connection.sendall(answer)

    def close(self) -> None:
        for each in (self._socket, *self._held):
            each.close()


def _http(document: object, status: int = 200, more: str = "") -> bytes:
    body = document if isinstance(document, bytes) else json.dumps(document).encode()
    return f"HTTP/1.1 {status} X\r\ncontent-length: {len(body)}\r\n{more}\r\n".encode() + body


@pytest.fixture
def odd(tmp_path: Path) -> Iterator[list[Odd]]:
    made: list[Odd] = []
    yield made
    for each in made:
        each.close()


@pytest.mark.parametrize(
    ("answers", "words"),
    [
        ([b"220 smtp\r\n"], "does not answer"),
        ([_http(b"hello")], "no token endpoint"),
        ([_http([])], "no token endpoint"),
        ([_http(METADATA), _http({**GOOD, "token_type": "Bearer"})], "bound to no key"),
        ([_http(METADATA), _http({**GOOD, "access_token": "a b\r\nc"})], "no token that can be used"),
        ([_http(METADATA), _http({**GOOD, "access_token": "a" * 9000})], "no token that can be used"),
        ([_http(METADATA), _http({**GOOD, "expires_in": True})], "no token that can be used"),
        ([_http(METADATA), _http({**GOOD, "expires_in": 10**9})], "no token that can be used"),
        ([_http(METADATA), _http({**GOOD, "more": "x" * BODY_BYTES_MAX})], "bound to no key"),
        ([_http(METADATA), _http({"error": "a\nb"}, 400)], "said 400 and not why"),
        ([None], "does not answer"),
    ],
)
def test_who_is_no_daemon_is_named(tmp_path: Path, odd: list[Odd], answers: list[bytes | None], words: str) -> None:
    odd.append(Odd(tmp_path / "s", *answers))
    session = Session(tmp_path / "s", timeout=0.5)
    with pytest.raises(Unavailable, match=words) as caught:
        session._token(Wanted("https://a", ""))
    assert str(tmp_path / "s") in str(caught.value) and "a.b.c" not in str(caught.value)


def test_what_a_daemon_says_of_a_refusal_is_told_on_one_line(tmp_path: Path, odd: list[Odd]) -> None:
    refusal = {"error": "slow_down", "error_description": "later\n\x1b[31m" + "x" * 5000}
    odd.append(Odd(tmp_path / "s", _http(METADATA), _http(refusal, 429, "retry-after: 7\r\n")))
    with pytest.raises(dayfly.Refused) as caught:
        Session(tmp_path / "s")._token(Wanted("https://a", ""))
    error = caught.value
    assert (error.error, error.status, error.retry_after) == ("slow_down", 429, 7)
    assert str(error).isprintable() and len(str(error)) < 1200


def test_who_waited_for_an_attempt_that_failed_has_its_answer(tmp_path: Path, odd: list[Odd]) -> None:
    odd.append(Odd(tmp_path / "s", None))
    session, wanted, errors = Session(tmp_path / "s", timeout=0.3), Wanted("https://a", ""), []
    begin = threading.Barrier(20)

    def ask() -> None:
        begin.wait()
        try:
            session._token(wanted)
        except Unavailable as error:
            errors.append(error)

    threads = [threading.Thread(target=ask) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(errors) == len({id(error) for error in errors}) == 20
    assert odd[0].asked < 5


def _decoded(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def _claims(proof: str) -> dict[str, object]:
    claims: dict[str, object] = json.loads(_decoded(proof.split(".")[1]))
    return claims
