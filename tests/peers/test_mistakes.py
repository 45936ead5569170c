"""docs/mistakes.md is true: flowkit's messages now, the peers' in their own environment."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from tests.peers.mistakes import MISTAKES
from tests.peers.page import PAGE, RECORDED, message, page


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda mistake: mistake.title)
def test_flowkit_says_what_is_shown(mistake):
    assert f"```text\n{message(mistake)}\n```\n" in PAGE.read_text("utf-8")


def test_the_page_is_the_one_written():
    assert page() == PAGE.read_text("utf-8"), "write it again: python -m tests.peers.page"


def test_there_are_ten():
    assert len(MISTAKES) == 10
    assert all({peer.name for peer in m.peers} == {"nflows", "normflows", "FrEIA", "zuko"} for m in MISTAKES)


@pytest.mark.slow
def test_the_peers_say_what_is_shown(in_peers_environment: Callable[..., str]) -> None:
    assert json.loads(in_peers_environment("tests.peers.there")) == json.loads(RECORDED.read_text("utf-8"))
