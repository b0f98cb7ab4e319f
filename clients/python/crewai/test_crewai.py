"""CrewAI, unmodified: a crew whose tool and whose model are behind the door, and that has no credential."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parents[1]))

from stage import Absent, Stage, behind_the_door, eventually  # noqa: E402

# How tokens begin, and proofs; and the two words that stand before a credential.
NEEDLES = re.compile(r"eyJ0eXAiOiJ(?:hdCtqd3Qi|kcG9wK2p3dCI)|\bDPoP ey|Bearer (?!error)\S{8,}")


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    try:
        stage = Stage(locations=behind_the_door("/model/", "model.sock"))
    except Absent as absent:
        pytest.skip(str(absent))
    with stage:
        socket, record = stage.home / "model.sock", stage.home / "record"
        stage.start_child(sys.executable, str(HERE / "model.py"), str(socket), str(record))
        eventually("the model is there", socket.is_socket, stage.log)
        audience = f"{stage.origin}/model"
        stage.add_tool("model", "/model", ["ask=read"], ["POST /v1/chat/completions=ask"], audience=audience)
        stage.run("grant", "add", "reporter", "model", "--scope", "ask")
        yield stage


class Run:
    """A crew from its start to its end, in a home of its own."""

    def __init__(self, stage: Stage, home: Path, what: str) -> None:
        record = stage.home / "record"
        record.write_text("")
        # Nothing of ours, and nothing that could be a key.
        environment = {"PATH": os.environ["PATH"], "HOME": str(home), "LANG": "C.UTF-8"}
        words = [sys.executable, str(HERE / "crew.py"), stage.origin, str(stage.socket), str(stage.bundle), what]
        done = subprocess.run(words, env=environment, cwd=home, capture_output=True, text=True, timeout=240)
        assert done.returncode == 0, done.stderr[-5000:]
        self.output = done.stdout + done.stderr
        self.told: dict[str, Any] = json.loads(
            next(line for line in done.stdout.splitlines() if line.startswith('{"said"'))
        )
        self.asked: list[dict[str, Any]] = [json.loads(line) for line in record.read_text().splitlines()]
        self.files = {
            str(file): file.read_bytes().decode(errors="replace") for file in home.rglob("*") if file.is_file()
        }
        self.daemon = stage.log()

    def must_keep_its_secrets(self) -> None:
        places = {"output": self.output, "model": json.dumps(self.asked), "daemon": self.daemon, **self.files}
        for place, text in places.items():
            found = NEEDLES.search(text)
            assert found is None, f"{place}: {text[max(0, found.start() - 200) : found.start() + 20]}"
        assert not [
            name for name in self.told["environment"] if re.search("(^|_)(KEY|SECRET|PASSWORD|TOKEN)S?(_|$)", name)
        ]
        assert self.told["environ"] and self.told["cmdline"] and "DEBUG:" in self.output


def test_a_crew_works_without_a_credential(stage: Stage, tmp_path: Path) -> None:
    run = Run(stage, tmp_path, "look")
    assert run.told["said"].strip() == "reporter: read GET /api/items/7", run.output[-3000:]
    assert run.told["tokens"] == 2 and len(run.asked) == 2
    for asked in run.asked:
        assert asked["told"] == {"x-dayfly-agent": "reporter", "x-dayfly-scopes": "ask", "authorization": None}
    run.must_keep_its_secrets()


def test_a_tool_that_raises_in_the_middle_of_a_call_tells_nothing(stage: Stage, tmp_path: Path) -> None:
    run = Run(stage, tmp_path, "raise")
    assert "in the middle of <Response [200 OK]>" in run.output and "in the middle of" in json.dumps(run.asked)
    run.must_keep_its_secrets()


def test_a_tool_is_told_which_scope_was_not_granted(stage: Stage, tmp_path: Path) -> None:
    run = Run(stage, tmp_path, "write")
    assert "no access token: invalid_scope" in json.dumps(run.asked), run.output[-3000:]
    run.must_keep_its_secrets()


def test_a_crew_of_a_suspended_agent_gets_no_answer_of_its_model(stage: Stage, tmp_path: Path) -> None:
    stage.run("agent", "suspend", "reporter")
    try:
        run = Run(stage, tmp_path, "look")
    finally:
        stage.run("agent", "resume", "reporter")
    assert not run.asked and run.told["tokens"] == 0
    assert "unauthorized_client" in run.output
    run.must_keep_its_secrets()


def test_what_is_searched_for_would_be_found(stage: Stage) -> None:
    shown = stage.run("token", "header", "GET", f"{stage.origin}/api/items/7")
    assert all(NEEDLES.search(line) for line in shown.splitlines()) and len(shown.splitlines()) == 2
    assert NEEDLES.search("Authorization: Bearer sk-0123456789")
