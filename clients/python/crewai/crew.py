"""A crew that has no credential: crew.py ORIGIN SOCKET BUNDLE look|raise|write

Its tool and its model are both behind the door. Says what came of it in a line of JSON.
"""

from __future__ import annotations

import json
import logging
import os
import ssl
import sys
from pathlib import Path
from typing import Any

os.environ.update(CREWAI_DISABLE_TELEMETRY="true", OTEL_SDK_DISABLED="true", CREWAI_TRACING_ENABLED="false")

import httpx  # noqa: E402
from crewai import Agent, Crew, Task  # noqa: E402
from crewai.llms.providers.openai.completion import OpenAICompletion  # noqa: E402
from crewai.tools import tool  # noqa: E402
from openai import AsyncOpenAI, OpenAI  # noqa: E402

from dayfly import Session  # noqa: E402
from dayfly.httpx import DPoPAuth  # noqa: E402

origin, socket, bundle, what = sys.argv[1:]
session = Session(socket)
trusted = ssl.create_default_context(cafile=bundle)
tickets = httpx.Client(auth=DPoPAuth(origin, "write" if what == "write" else "read", session=session), verify=trusted)


class Model(OpenAICompletion):
    """CrewAI's own, but for what sends its requests, which CrewAI 1.15 has no argument for."""

    def _build_sync_client(self) -> OpenAI:
        return OpenAI(**self._get_client_params(), http_client=httpx.Client(auth=_for_the_model(), verify=trusted))

    def _build_async_client(self) -> AsyncOpenAI:
        client = httpx.AsyncClient(auth=_for_the_model(), verify=trusted)
        return AsyncOpenAI(**self._get_client_params(), http_client=client)


def _for_the_model() -> DPoPAuth:
    return DPoPAuth(f"{origin}/model", "ask", session=session)


@tool("lookup")
def lookup(number: int) -> str:
    "shows a ticket"
    with tickets.stream("GET", f"{origin}/api/items/{number}") as answer:
        if what == "raise":
            raise RuntimeError(f"in the middle of {answer!r} to {answer.request!r}, sent {answer.request.headers!r}")
        return answer.read().decode()


def main() -> dict[str, Any]:
    logging.basicConfig(level=logging.DEBUG, stream=sys.stderr)
    # It must be a word; the auth takes its place.
    model = Model(model="stub", base_url=f"{origin}/model/v1", api_key="none", max_retries=0)
    agent = Agent(role="clerk", goal="know tickets", backstory="none", tools=[lookup], llm=model, verbose=True)
    task = Task(description="What is ticket 7?", expected_output="the ticket", agent=agent)
    try:
        said = str(Crew(agents=[agent], tasks=[task], verbose=True).kickoff())
    except Exception as error:
        logging.getLogger().exception("the crew ended")
        said = f"{type(error).__name__}: {error}"
    process = Path("/proc/self")
    # What belongs to this process while it works, for who started it to search.
    own = {name: (process / name).read_bytes().decode(errors="replace") for name in ("environ", "cmdline")}
    tokens = [place.token.text.expose() for place in session._state.places.values() if place.token]
    return {"said": said, "tokens": len(tokens), "environment": dict(os.environ), **own}


print("\n" + json.dumps(main()))
