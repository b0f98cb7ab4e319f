"""One daemon and one nginx for all tests of a run."""

from __future__ import annotations

import ssl
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from stage import Absent, Stage  # noqa: E402


@pytest.fixture(scope="session")
def stage() -> Iterator[Stage]:
    try:
        stage = Stage()
    except Absent as absent:
        pytest.skip(str(absent))
    with stage:
        yield stage


@pytest.fixture(scope="session")
def trusted(stage: Stage) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=stage.bundle)
