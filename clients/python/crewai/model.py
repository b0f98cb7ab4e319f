"""A stand-in for a language model at a Unix socket: model.py SOCKET RECORD

It asks for the first tool that it is offered, and ends with what the tool said. What it was sent is a line of JSON in
the file RECORD.
"""

from __future__ import annotations

import json
import sys
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from socketserver import ThreadingUnixStreamServer
from typing import Any

socket, record = sys.argv[1:]


class Model(BaseHTTPRequestHandler):
    def do_POST(self) -> None:  # noqa: N802
        asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
        told = {name: self.headers.get(name) for name in ("x-dayfly-agent", "x-dayfly-scopes", "authorization")}
        with Path(record).open("a") as file:
            file.write(json.dumps({"path": self.path, "told": told, "asked": asked}) + "\n")
        said = [message["content"] for message in asked["messages"] if message["role"] == "tool"]
        usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
        body = {"id": "1", "object": "chat.completion", "created": 1, "model": "stub", "usage": usage}
        body["choices"] = [self._choice(said, asked.get("tools", []))]
        text = json.dumps(body).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def _choice(self, said: list[str], tools: list[dict[str, Any]]) -> dict[str, Any]:
        if said or not tools:
            words = said[-1] if said else "nothing"
            return {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": words}}
        function = {"name": tools[0]["function"]["name"], "arguments": json.dumps({"number": 7})}
        call = {"id": "call_1", "type": "function", "function": function}
        message = {"role": "assistant", "content": None, "tool_calls": [call]}
        return {"index": 0, "finish_reason": "tool_calls", "message": message}

    def address_string(self) -> str:
        return "socket"


ThreadingUnixStreamServer(socket, Model).serve_forever()
