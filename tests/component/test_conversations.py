"""What the relay makes of what clients and servers say: the conversations in `conversations`, each told whole."""

from __future__ import annotations

import pytest

from tests.component.conversations import ALL
from tests.support.conversation.player import play
from tests.support.conversation.steps import Conversation


@pytest.mark.parametrize(
    "conversation",
    [
        pytest.param(
            each,
            marks=[pytest.mark.xfail(reason=each.wrong, strict=True)] if each.wrong else [],
        )
        for each in ALL
    ],
    ids=lambda each: each.title,
)
def test_the_relay_says_what_the_conversation_tells(conversation: Conversation):
    play(conversation)


@pytest.mark.parametrize("piece", [1, 7])
@pytest.mark.parametrize(
    "conversation",
    [each for each in ALL if not (each.wrong or each.whole)],
    ids=lambda each: each.title,
)
def test_it_does_not_matter_how_the_network_cuts_what_is_said(
    conversation: Conversation, piece: int
):
    play(conversation, piece=piece)


def test_no_two_conversations_have_the_same_title():
    titles = [conversation.title for conversation in ALL]
    assert len({*titles}) == len(titles)
