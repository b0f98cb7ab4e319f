#!/usr/bin/env python3
"""A daemon and a tool behind nginx, for the clients' tests: the real ones, in a folder that goes with them.

What nginx is told is the README's example of "A tool behind nginx", with other places. Python's tests import this;
others run it: it says where everything is, as one line of JSON, and then does for each line on stdin, a list of words
as JSON, what the words say (`dayfly …`, `start`, `stop`, `kill`), and answers with a line of JSON. It ends with its
stdin.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

ROOT = Path(__file__).resolve().parents[1]
PATIENCE = 30.0

# Tells what the tool was told, and what it was sent.
_BACKEND = 'default_type text/plain; return 200 "$http_x_dayfly_agent: $http_x_dayfly_scopes $request_method $uri\\n";'


class Absent(Exception):
    """A program that is not here."""


def _program(variable: str, usual: str) -> str:
    found = os.environ.get(variable) or shutil.which(usual) or shutil.which(usual, path="/usr/sbin:/sbin")
    if not found or not os.access(found, os.X_OK):
        raise Absent(f"no {usual} ({variable} names one)")
    return found


def _built() -> str:
    target = Path(os.environ.get("CARGO_TARGET_DIR") or "target")
    return str(ROOT / target / "debug/dayfly")


def port() -> int:
    """A port that nobody has now."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def eventually(what: str, holds: Callable[[], bool], said: Callable[[], str] = str) -> None:
    until = time.monotonic() + PATIENCE
    while not holds():
        if time.monotonic() > until:
            raise AssertionError(f"{what}: not within {PATIENCE} s\n{said()}")
        time.sleep(0.02)


def behind_the_door(path: str, socket: str) -> str:
    """More of nginx's locations, for `Stage`: what is at a socket of its folder, asked about as the README says."""
    return f"""
        location {path} {{
            auth_request /dayfly;
            auth_request_set $agent $upstream_http_x_dayfly_agent;
            auth_request_set $scopes $upstream_http_x_dayfly_scopes;
            auth_request_set $nonce $upstream_http_dpop_nonce;
            add_header DPoP-Nonce $nonce always;
            proxy_set_header X-Dayfly-Agent $agent;
            proxy_set_header X-Dayfly-Scopes $scopes;
            proxy_set_header Authorization "";
            proxy_set_header DPoP "";
            # A server may take no other, against names that lead to it behind one's back.
            proxy_set_header Host localhost:8000;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_buffering off;
            proxy_pass http://unix:@HOME@/{socket};
        }}"""


class Stage:
    """A daemon with the agent `reporter`, who may `read` at the tool `tickets` and not `write`."""

    def __init__(self, config: str = "", locations: str = "") -> None:
        """`config` is the daemon's; `locations` are more of nginx's, in the server of the tool."""
        self.dayfly = _program("DAYFLY_BIN", _built())
        nginx = _program("DAYFLY_NGINX", "nginx")
        # Short, since a socket's path is.
        self.home = Path(tempfile.mkdtemp(prefix="df-"))
        self.home.chmod(0o755)
        self._children: list[subprocess.Popen[bytes]] = []
        self._daemon: subprocess.Popen[bytes] | None = None
        try:
            self.origin, self.other = f"https://localhost:{port()}", f"https://localhost:{port()}"
            (self.home / "dayfly.toml").write_text(config)
            self.start()
            self._register()
            self._serve(nginx, locations)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Stage:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    @property
    def socket(self) -> Path:
        return self.home / "http.sock"

    @property
    def bundle(self) -> Path:
        return self.home / "bundle.pem"

    def run(self, *words: str) -> str:
        """A verb of the daemon's that must succeed."""
        done = subprocess.run([self.dayfly, *words], env=self._environment(), capture_output=True, text=True)
        if done.returncode != 0:
            raise AssertionError(f"dayfly {' '.join(words)}: {done.stdout}{done.stderr}\n{self.log()}")
        return done.stdout

    def start(self) -> None:
        with (self.home / "log").open("ab") as log:
            words = [self.dayfly, "daemon", "--home", str(self.home), "--trust-domain", "example.org"]
            self._daemon = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

        def is_ready() -> bool:
            check = subprocess.run([self.dayfly, "healthcheck"], env=self._environment(), capture_output=True)
            return check.returncode == 0

        eventually("the daemon is ready", is_ready, self.log)

    def stop(self, kill: bool = False) -> None:
        if self._daemon is not None:
            (self._daemon.kill if kill else self._daemon.terminate)()
            self._daemon.wait(PATIENCE)
            self._daemon = None

    def restart(self) -> None:
        self.stop()
        self.start()

    def log(self) -> str:
        texts = [self.home / "log", self.home / "nginx.log"]
        return "".join(text.read_text(errors="replace") for text in texts if text.exists())

    def close(self) -> None:
        self.stop(kill=True)
        for child in self._children:
            child.terminate()
            child.wait(PATIENCE)
        shutil.rmtree(self.home, ignore_errors=True)

    def start_child(self, *words: str, **environment: str) -> subprocess.Popen[bytes]:
        """Another server of the stage, which ends with it."""
        with (self.home / "log").open("ab") as log:
            env = {**os.environ, **environment}
            child = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=env)
        self._children.append(child)
        return child

    def _environment(self) -> dict[str, str]:
        return {**os.environ, "DAYFLY_HOME": str(self.home)}

    def _register(self) -> None:
        me = f"unix:uid:{os.getuid()}"
        # First, as its certificate is the one that nginx has.
        self.run(
            "entry",
            "add",
            "spiffe://example.org/tickets",
            "-s",
            me,
            "-s",
            f"unix:path:{self.dayfly}",
            "--dns",
            "localhost",
        )
        self.run("agent", "add", "reporter", "--owner", "ada@example.org")
        routes = ["GET /items/*=read", "POST /items=write", "POST /search=read"]
        self.add_tool("tickets", "/api", ["read=read", "write=write"], routes, audience=self.origin)
        self.run("grant", "add", "reporter", "tickets", "--scope", "read")
        self.run("entry", "add", "spiffe://example.org/reporter", "-s", me, "--agent", "reporter")
        self.run("fetch", "x509", "--write", str(self.home / "certs"))
        self.bundle.write_text(self.run("fetch", "bundle"))

    def add_tool(self, name: str, path: str, scopes: list[str], routes: list[str], audience: str) -> None:
        words = ["tool", "add", name, "--audience", audience, "--url", f"{self.origin}{path}"]
        for flag, values in (("--scope", scopes), ("--route", routes)):
            words += [word for value in values for word in (flag, value)]
        self.run(*words)

    def _serve(self, nginx: str, locations: str) -> None:
        at = str(self.home)
        listen, away = self.origin.rpartition(":")[2], self.other.rpartition(":")[2]
        swaps = {
            "listen 443": f"listen 127.0.0.1:{listen}",
            "server_name tickets.example.org": "server_name localhost",
            "https://tickets.example.org": self.origin,
            "http://127.0.0.1:8080": f"http://unix:{at}/backend.sock",
            "/run/dayfly/": f"{at}/",
            "/var/lib/nginx/certs": f"{at}/certs",
        }
        server = _readme("# /etc/nginx/sites-enabled/tickets").rstrip().removesuffix("}")
        text = server + _readme("# beside /api/")
        for old, new in swaps.items():
            if old not in text:
                raise AssertionError(f"the README does not say {old}")
            text = text.replace(old, new)
        # Before the end of the tool's server.
        moved = f"""
            location = /api/moved {{ return 307 {self.origin}/api/items/7; }}
            location = /api/twice {{ return 302 {self.origin}/api/moved; }}
            location = /api/away {{ return 307 {self.other}/echo; }}
            location = /api/round {{ return 307 {self.other}/back; }}
            {locations.replace("@HOME@", at)}"""
        text = f"{text}{moved}\n}}\n"
        kinds = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        temps = "\n".join(f"{kind}_temp_path {at}/nginx-{kind};" for kind in kinds)
        user = "user root;" if os.getuid() == 0 else ""
        (self.home / "nginx.conf").write_text(f"""{user}
            pid {at}/nginx.pid; error_log {at}/nginx.log; events {{}}
            http {{ access_log off; {temps}
            {text}
            server {{ listen unix:{at}/backend.sock; location / {{ {_BACKEND} }} }}
            server {{
                listen 127.0.0.1:{away} ssl;
                ssl_certificate {at}/certs/svid.pem; ssl_certificate_key {at}/certs/svid_key.pem;
                add_header WWW-Authenticate 'DPoP error="use_dpop_nonce"' always;
                add_header DPoP-Nonce elsewhere always;
                location = /back {{ return 307 {self.origin}/api/items/7; }}
                location / {{ return 401 "[$http_authorization|$http_dpop]\\n"; }}
            }} }}""")
        self.start_child(nginx, "-p", at, "-e", f"{at}/nginx.log", "-c", f"{at}/nginx.conf", "-g", "daemon off;")
        for each in (listen, away):
            eventually("nginx listens", lambda each=each: _listens(int(each)), self.log)  # type: ignore[misc]


def _readme(head: str) -> str:
    """The README's block that begins with this line."""
    lines = iter((ROOT / "README.md").read_text().splitlines())
    for line in lines:
        if line == head:
            break
    return "\n".join(line for line in iter(lambda: next(lines, "```"), "```"))


def _listens(at: int) -> bool:
    with socket.socket() as sock:
        return sock.connect_ex(("127.0.0.1", at)) == 0


def main() -> None:
    try:
        stage = Stage(*sys.argv[1:])
    except Absent as absent:
        print(json.dumps({"absent": str(absent)}), flush=True)
        return
    with stage:
        told = {"origin": stage.origin, "other": stage.other, "socket": str(stage.socket), "bundle": str(stage.bundle)}
        print(json.dumps({**told, "home": str(stage.home)}), flush=True)
        verbs = {"start": stage.start, "stop": stage.stop, "kill": lambda: stage.stop(kill=True), "log": stage.log}
        for line in sys.stdin:
            verb, *words = json.loads(line)
            try:
                answer = {"said": stage.run(*words) if verb == "dayfly" else verbs[verb]() or ""}
            except AssertionError as error:
                answer = {"failed": str(error)}
            print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
