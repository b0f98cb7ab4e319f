"""An MCP server of the real SDK on a Unix socket: mcp_server.py read|write SOCKET

What reads is one server and what writes another: a door in front sees method and path, and each has a path of its own.
"""

from __future__ import annotations

import sys
from typing import Any

import uvicorn
from mcp.server import MCPServer
from mcp.server.mcpserver import Context

kind, socket = sys.argv[1:]
server = MCPServer(f"tickets-{kind}")


def _agent(context: Context[Any, Any]) -> str:
    request: Any = context.request_context.request
    return f"{request.headers['x-dayfly-agent']}: {request.headers['x-dayfly-scopes']}"


if kind == "read":

    @server.tool()
    def look(number: int, context: Context[Any, Any]) -> str:
        """Shows a ticket."""
        return f"ticket {number} for {_agent(context)}"

else:

    @server.tool()
    def close(number: int, context: Context[Any, Any]) -> str:
        """Closes a ticket."""
        return f"closed {number} for {_agent(context)}"


uvicorn.run(server.streamable_http_app(streamable_http_path=f"/mcp/{kind}"), uds=socket, log_level="warning")
