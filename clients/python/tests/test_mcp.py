"""A real MCP server behind nginx and the door, and its client with our auth."""

from __future__ import annotations

import asyncio
import ssl
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest
from mcp import Client
from mcp.client.auth.utils import extract_resource_metadata_from_www_auth, handle_protected_resource_response
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.auth import ProtectedResourceMetadata

from dayfly import Refused, Session
from dayfly.httpx2 import DPoPAuth
from stage import Absent, Stage, behind_the_door, eventually

KINDS = ("read", "write")


@pytest.fixture(scope="module")
def desk() -> Iterator[Stage]:
    """The tool `desk`: one MCP server that reads and one that writes."""
    try:
        stage = Stage(locations="".join(behind_the_door(f"/mcp/{kind}", f"{kind}.sock") for kind in KINDS))
    except Absent as absent:
        pytest.skip(str(absent))
    with stage:
        for kind in KINDS:
            socket = stage.home / f"{kind}.sock"
            stage.start_child(sys.executable, str(Path(__file__).with_name("mcp_server.py")), kind, str(socket))
            eventually(f"the server that {kind}s is there", socket.is_socket, stage.log)
        # Also GET, on which a server may send, and DELETE, which ends a session.
        routes = [f"{method} /{kind}={kind}" for kind in KINDS for method in ("POST", "GET", "DELETE")]
        stage.add_tool("desk", "/mcp", ["read=read", "write=write"], routes, audience=f"{stage.origin}/mcp")
        stage.run("grant", "add", "reporter", "desk", "--scope", "read")
        yield stage


class Caller:
    """A client, and what was answered to it."""

    def __init__(self, stage: Stage, scope: str, resource: str = "") -> None:
        self.stage = stage
        self.auth = DPoPAuth(resource or f"{stage.origin}/mcp", scope, session=Session(stage.socket))
        self.answers: list[tuple[int, str]] = []

    async def _keep(self, answer: httpx2.Response) -> None:
        self.answers.append((answer.status_code, answer.headers.get("www-authenticate", "")))

    async def _call(self, kind: str, tool: str) -> str:
        trusted = ssl.create_default_context(cafile=self.stage.bundle)
        hooks = {"response": [self._keep]}
        async with (
            httpx2.AsyncClient(auth=self.auth, verify=trusted, event_hooks=hooks) as http,
            Client(streamable_http_client(f"{self.stage.origin}/mcp/{kind}", http_client=http)) as client,
        ):
            assert [each.name for each in (await client.list_tools()).tools] == [tool]
            result = await client.call_tool(tool, {"number": 7})
            assert not result.is_error
            return "".join(getattr(content, "text", "") for content in result.content)

    def call(self, kind: str, tool: str) -> str:
        return asyncio.run(self._call(kind, tool))


def test_a_client_of_the_sdk_calls_a_tool(desk: Stage) -> None:
    caller = Caller(desk, "read")
    assert caller.call("read", "look") == "ticket 7 for reporter: read"
    assert {status for status, _ in caller.answers} <= {200, 202, 401}


def test_a_read_scope_calls_no_tool_that_writes(desk: Stage) -> None:
    caller = Caller(desk, "read")
    with pytest.raises(ExceptionGroup):
        caller.call("write", "close")
    assert {status for status, _ in caller.answers if status != 401} == {403}
    early = Caller(desk, "write")
    with pytest.raises(ExceptionGroup) as caught:
        early.call("write", "close")
    error = _leaf(caught.value)
    assert isinstance(error, Refused) and error.error == "invalid_scope" and not early.answers
    # It is the scope alone that was missing, and to write is not to read.
    desk.run("grant", "update", "reporter/desk", "--scope", "read", "--scope", "write")
    try:
        assert Caller(desk, "write").call("write", "close") == "closed 7 for reporter: write"
        with pytest.raises(ExceptionGroup):
            Caller(desk, "write").call("read", "look")
    finally:
        desk.run("grant", "update", "reporter/desk", "--scope", "read")


def test_who_has_no_token_is_told_what_it_takes(desk: Stage) -> None:
    url = f"{desk.origin}/mcp/read"

    async def find() -> ProtectedResourceMetadata | None:
        async with httpx2.AsyncClient(verify=ssl.create_default_context(cafile=desk.bundle)) as http:
            answer = await http.post(url, json={})
            assert answer.status_code == 401 and answer.headers["www-authenticate"].startswith("DPoP ")
            at = extract_resource_metadata_from_www_auth(answer)
            # RFC 9728 §3.1: where a client would look without being told, too.
            assert at == f"{desk.origin}/.well-known/oauth-protected-resource/mcp"
            assert (await http.get(f"{at}s")).status_code == 404
            return await handle_protected_resource_response(await http.get(at))

    found = asyncio.run(find())
    assert found and str(found.resource) == f"{desk.origin}/mcp" and found.dpop_bound_access_tokens_required
    assert [str(server) for server in found.authorization_servers] == ["https://example.org/oauth"]
    assert found.scopes_supported == ["read", "write"]
    # What is found is what our auth takes.
    assert Caller(desk, "read", str(found.resource)).call("read", "look") == "ticket 7 for reporter: read"


def _leaf(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
