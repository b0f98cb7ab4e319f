"""Calls of a tool behind the real nginx, with tokens of the real daemon, by every adapter."""

from __future__ import annotations

import asyncio
import http.client
import io
import logging
import os
import re
import signal
import ssl
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import httpx2
import pytest
import requests

import dayfly.httpx
import dayfly.httpx2
import dayfly.requests
from dayfly import OtherOrigin, Refused, Session, Unavailable
from dayfly._key import Key
from dayfly._secret import Secret
from dayfly._session import Wanted
from stage import Stage

# How each token, and each proof of this package, begins.
TOKEN = "eyJ0eXAiOiJhdCtqd3QiLCJhbGciOiJFUzI1NiIsImtpZCI6"
PROOF = "eyJ0eXAiOiJkcG9wK2p3dCIsImFsZyI6IkVTMjU2Iiwiandr"

Answer = tuple[int, str]
Send = Callable[..., Answer]


class Adapter:
    """One of the libraries, as a function that sends one request with a client of its own."""

    def __init__(self, kind: str, stage: Stage, trusted: ssl.SSLContext) -> None:
        self.kind, self.stage, self.trusted = kind, stage, trusted

    def open(self, session: Session, scope: str = "read", **more: Any) -> Send:
        origin = self.stage.origin
        if self.kind == "requests":
            client = requests.Session()
            client.auth = dayfly.requests.DPoPAuth(origin, scope, session=session, **more)

            def send(method: str, url: str, **options: Any) -> Answer:
                options["data"] = options.pop("content", None)
                answer = client.request(method, url, verify=str(self.stage.bundle), **options)
                return answer.status_code, answer.text

            return self._below(send)
        if self.kind == "httpx-async":
            runner = asyncio.new_event_loop()
            later = httpx.AsyncClient(
                auth=dayfly.httpx.DPoPAuth(origin, scope, session=session, **more),
                verify=self.trusted,
                follow_redirects=True,
            )

            def run(method: str, url: str, **options: Any) -> Answer:
                answer = runner.run_until_complete(later.request(method, url, **options))
                return answer.status_code, answer.text

            return self._below(run)
        at_once: httpx.Client | httpx2.Client
        if self.kind == "httpx":
            auth = dayfly.httpx.DPoPAuth(origin, scope, session=session, **more)
            at_once = httpx.Client(auth=auth, verify=self.trusted, follow_redirects=True)
        else:
            auth2 = dayfly.httpx2.DPoPAuth(origin, scope, session=session, **more)
            at_once = httpx2.Client(auth=auth2, verify=self.trusted, follow_redirects=True)

        def ask(method: str, url: str, **options: Any) -> Answer:
            answer = at_once.request(method, url, **options)
            return answer.status_code, answer.text

        return self._below(ask)

    def _below(self, send: Send) -> Send:
        def below(method: str, path: str, **options: Any) -> Answer:
            return send(method, path if ":" in path else self.stage.origin + path, **options)

        return below


@pytest.fixture(params=["httpx", "httpx-async", "httpx2", "requests"])
def adapter(request: pytest.FixtureRequest, stage: Stage, trusted: ssl.SSLContext) -> Adapter:
    return Adapter(request.param, stage, trusted)


@pytest.fixture
def session(stage: Stage) -> Session:
    return Session(stage.socket)


@pytest.fixture
def issued(caplog: pytest.LogCaptureFixture) -> Iterator[Callable[[], int]]:
    """How many tokens there were."""
    with caplog.at_level(logging.DEBUG, "dayfly"):
        yield lambda: sum(record.message.startswith("a token for") for record in caplog.records)


def _readme(kind: str) -> str:
    text = (Path(__file__).parents[1] / "README.md").read_text()
    found = re.search(rf"```python {kind}\n(.*?)```", text, re.DOTALL)
    assert found, kind
    return found[1]


@pytest.mark.parametrize("kind", ["httpx", "requests"])
def test_what_the_readme_says_works(stage: Stage, kind: str) -> None:
    code = _readme(kind).replace("https://tickets.example.org", stage.origin)
    code = code.replace("/var/lib/reporter/bundle.pem", str(stage.bundle))
    environment = {**os.environ, "DAYFLY_HOME": str(stage.home)}
    done = subprocess.run([sys.executable, "-"], input=code, env=environment, capture_output=True, text=True)
    assert done.stdout.startswith("reporter: read GET /api/items/7"), done.stderr


def test_a_thousand_calls_through_renewals(
    adapter: Adapter, session: Session, issued: Callable[[], int], caplog: pytest.LogCaptureFixture
) -> None:
    adapter.stage.run("grant", "update", "reporter/tickets", "--ttl-max", "2s")
    try:
        send = adapter.open(session)
        answers = [send("GET", f"/api/items/{each}") for each in range(1000)]
        # However fast they were.
        until = time.monotonic() + 3
        while time.monotonic() < until:
            answers.append(send("GET", "/api/items/7"))
    finally:
        adapter.stage.run("grant", "update", "reporter/tickets", "--ttl-max", "15m")
    assert {status for status, _ in answers} == {200}
    assert answers[999][1] == "reporter: read GET /api/items/999\n"
    # Renewed in time, not when the door said so.
    assert issued() >= 2 and "was refused" not in caplog.text


def test_a_restarted_daemon_asks_for_a_nonce_and_gets_it(adapter: Adapter, session: Session) -> None:
    send = adapter.open(session)
    assert send("GET", "/api/items/7")[0] == 200
    for kill in (False, True):
        adapter.stage.stop(kill)
        adapter.stage.start()
        for _ in range(3):
            assert send("GET", "/api/items/7") == (200, "reporter: read GET /api/items/7\n")
        assert send("POST", "/api/search", content="what")[0] == 200


def test_a_body_that_is_a_stream_is_not_sent_twice(adapter: Adapter, session: Session) -> None:
    adapter.stage.restart()
    send = adapter.open(session)

    async def later() -> Any:
        yield b"what"

    def body() -> Any:
        return later() if adapter.kind == "httpx-async" else iter([b"what"])

    # What the answer said is known to the next.
    assert send("POST", "/api/search", content=body())[0] == 401
    assert send("POST", "/api/search", content=body())[0] == 200


def test_a_scope_that_was_not_granted_is_refused_with_the_reason(adapter: Adapter, session: Session) -> None:
    with pytest.raises(Refused) as caught:
        adapter.open(session, "write")("POST", "/api/items", content="x")
    assert caught.value.error == "invalid_scope" and caught.value.error_description
    assert adapter.open(session, "read")("POST", "/api/items", content="x")[0] == 403
    with pytest.raises(Refused, match="invalid_target"):
        bad = dayfly.requests.DPoPAuth("https://nobody.example", base_url=adapter.stage.origin, session=session)
        requests.get(f"{adapter.stage.origin}/api/items/7", auth=bad, verify=str(adapter.stage.bundle))


def test_a_suspended_agent_is_refused_also_with_a_token(adapter: Adapter, session: Session) -> None:
    send = adapter.open(session)
    assert send("GET", "/api/items/7")[0] == 200
    adapter.stage.run("agent", "suspend", "reporter")
    try:
        with pytest.raises(Refused, match="unauthorized_client"):
            send("GET", "/api/items/7")
    finally:
        adapter.stage.run("agent", "resume", "reporter")
    assert send("GET", "/api/items/7")[0] == 200


def test_without_a_daemon_nothing_passes_and_the_error_says_so(adapter: Adapter, session: Session) -> None:
    send = adapter.open(session)
    assert send("GET", "/api/items/7")[0] == 200
    adapter.stage.stop()
    try:
        assert send("GET", "/api/items/7")[0] >= 400
        fresh = adapter.open(Session(adapter.stage.socket))
        with pytest.raises(Unavailable, match=f"does not answer at {adapter.stage.socket}.*is it running"):
            fresh("GET", "/api/items/7")
    finally:
        adapter.stage.start()
    assert send("GET", "/api/items/7")[0] == fresh("GET", "/api/items/7")[0] == 200


def test_a_token_that_is_still_good_is_used_while_the_daemon_is_away(
    stage: Stage, session: Session, caplog: pytest.LogCaptureFixture
) -> None:
    wanted = Wanted.of(stage.origin, "read")
    stage.run("grant", "update", "reporter/tickets", "--ttl-max", "4s")
    try:
        token = session._token(wanted)
        stage.stop()
        time.sleep(2.4)
        assert session._cached(wanted) is None and session._token(wanted) is token
        assert "not renewed yet" in caplog.text
        time.sleep(0.6)
        with pytest.raises(Unavailable):
            session._token(wanted)
    finally:
        stage.start()
        stage.run("grant", "update", "reporter/tickets", "--ttl-max", "15m")


def test_redirects_have_proofs_of_their_own_and_other_origins_nothing(adapter: Adapter, session: Session) -> None:
    send = adapter.open(session)
    for path in ("/api/moved", "/api/twice", "/api/items/7", "/api/moved"):
        assert send("GET", path) == (200, "reporter: read GET /api/items/7\n"), path
    # That one asks for a nonce, as if it were the tool.
    assert send("GET", "/api/away") == (401, "[|]\n")
    # Where to it comes back was the other's word.
    assert send("GET", "/api/round")[0] == 401


def test_a_request_to_another_origin_is_an_error(adapter: Adapter, session: Session) -> None:
    send = adapter.open(session)
    for url in (f"{adapter.stage.other}/echo", adapter.stage.origin.replace("https", "http")):
        with pytest.raises(OtherOrigin):
            send("GET", url)


@pytest.mark.parametrize(
    "path",
    [
        "/api/items/a%20b?x=1&y=%2F",
        "/api/items/a b",
        "/api/items/~aBc",
        "/api/items/%7Ea",
        "/api/items/é",
        "/api/./items/7",
    ],
)
def test_a_proof_is_for_the_path_as_it_is_sent(adapter: Adapter, session: Session, path: str) -> None:
    assert adapter.open(session)("GET", path)[0] == 200


# A loop of tasks has one thread.
@pytest.mark.parametrize("adapter", ["httpx", "httpx2", "requests"], indirect=True)
def test_threads_share_one_token(adapter: Adapter, session: Session, issued: Callable[[], int]) -> None:
    begin = threading.Barrier(16)

    def some(_: int) -> set[int]:
        send = adapter.open(session)
        begin.wait()
        return {send("GET", "/api/items/7")[0] for _ in range(10)}

    with ThreadPoolExecutor(16) as pool:
        assert set().union(*pool.map(some, range(16))) == {200}
    assert issued() == 1


def test_tasks_share_one_token(
    stage: Stage, trusted: ssl.SSLContext, session: Session, issued: Callable[[], int]
) -> None:
    async def all_at_once() -> set[int]:
        auth = dayfly.httpx.DPoPAuth(stage.origin, "read", session=session)
        async with httpx.AsyncClient(auth=auth, verify=trusted) as client:
            answers = await asyncio.gather(*(client.get(f"{stage.origin}/api/items/{each}") for each in range(100)))
        return {answer.status_code for answer in answers}

    assert asyncio.run(all_at_once()) == {200}
    assert issued() == 1


def test_a_stolen_token_is_worth_nothing(stage: Stage, trusted: ssl.SSLContext, session: Session) -> None:
    send = Adapter("httpx", stage, trusted).open(session)
    assert send("GET", "/api/items/7")[0] == 200
    url, token = f"{stage.origin}/api/items/7", session._token(Wanted.of(stage.origin, "read")).text
    nonce = session._state.nonces.of(stage.origin)

    def status(scheme: str, **headers: str) -> int:
        headers["Authorization"] = f"{scheme} {token.expose()}"
        return httpx.get(url, headers=headers, verify=trusted).status_code

    # The key itself may, so that what follows is refused for the key.
    own, thief = session._state.key, Key()
    captured = own.proof("GET", url, nonce, token)
    assert status("DPoP", DPoP=captured) == 200
    assert status("DPoP", DPoP=captured) == 401
    assert status("DPoP", DPoP=thief.proof("GET", url, nonce, token)) == 401
    assert status("DPoP") == status("Bearer") == status("Bearer", DPoP=own.proof("GET", url, nonce, token)) == 401
    assert status("DPoP", DPoP=own.proof("GET", f"{stage.origin}/api/items/8", nonce, token)) == 401
    assert status("DPoP", DPoP=own.proof("GET", url, nonce, Secret("another"))) == 401


def test_a_forked_child_has_a_key_of_its_own(stage: Stage, trusted: ssl.SSLContext, session: Session) -> None:
    send = Adapter("requests", stage, trusted).open(session)
    assert send("GET", "/api/items/7")[0] == 200
    own, (reads, writes) = session.thumbprint, os.pipe()
    # As if another thread held it just then.
    with session._state.lock:
        child = os.fork()
        if child == 0:
            signal.alarm(20)
            said = "nothing"
            try:
                sent = Adapter("requests", stage, trusted).open(session)("GET", "/api/items/7")
                said = f"{session.thumbprint} {sent[0]}"
            finally:
                os.write(writes, said.encode())
                os._exit(0)
    os.close(writes)
    os.waitpid(child, 0)
    thumbprint, status = os.read(reads, 1000).decode().split()
    assert status == "200" and thumbprint != own == session.thumbprint
    assert send("GET", "/api/items/7")[0] == 200


def test_nothing_secret_is_said_shown_or_written(
    adapter: Adapter,
    session: Session,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    stage, shown = adapter.stage, io.StringIO()
    stage.restart()
    os.chdir(tmp_path)
    before = {**os.environ}
    with caplog.at_level(logging.DEBUG), pytest.MonkeyPatch.context() as patch:
        # As people do who look for a fault; what an HTTP library itself then prints of its own requests is its own.
        if adapter.kind != "requests":
            patch.setattr(http.client.HTTPConnection, "debuglevel", 1)
        send = adapter.open(session)
        assert send("GET", "/api/items/7")[0] == 200
        token = session._token(Wanted.of(stage.origin, "read"))
        assert token.text.expose().startswith(TOKEN)
        errors: list[Exception] = []
        for change, back in (("suspend", "resume"), ("stop", "start")):
            stage.run("agent", "suspend", "reporter") if change == "suspend" else stage.stop()
            try:
                adapter.open(Session(stage.socket))("GET", "/api/items/7")
            except Exception as error:
                errors.append(error)
            stage.run("agent", "resume", "reporter") if back == "resume" else stage.start()
        try:
            send("GET", f"{stage.other}/echo")
        except OtherOrigin as error:
            errors.append(error)
        assert [type(each) for each in errors] == [Refused, Unavailable, OtherOrigin]
        for each in errors:
            told = traceback.TracebackException.from_exception(each, capture_locals=True)
            shown.write("".join(told.format()))
            shown.write(f"{each!r} {each.args}")
    shown.write(f"{session!r} {token!r} {vars(session)} {vars(session._state)} {session._state.places}")
    output = capfd.readouterr()
    process = Path("/proc/self")
    places = {
        "log": caplog.text,
        "output": output.out + output.err,
        "shown": shown.getvalue(),
        "environment": (process / "environ").read_bytes().decode(errors="replace") + str(os.environ),
        "arguments": (process / "cmdline").read_bytes().decode(errors="replace"),
        "daemon": stage.log(),
        "files": "".join(file.read_text(errors="replace") for file in tmp_path.rglob("*") if file.is_file()),
    }
    assert caplog.text and "Refused" in places["shown"] and {**os.environ} == before and not any(tmp_path.iterdir())
    signature = token.text.expose().rpartition(".")[2]
    for place, text in places.items():
        for needle in (TOKEN, PROOF, token.text.expose(), signature):
            assert needle not in text, place
