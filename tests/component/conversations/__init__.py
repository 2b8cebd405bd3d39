"""Conversations around the relay, one file for each noun; what is wrong today is marked with what the relay does instead."""

from __future__ import annotations

from typing import Final

from tests.component.conversations import plain_reads
from tests.support.conversation.steps import Conversation

ALL: Final[tuple[Conversation, ...]] = (*plain_reads.CONVERSATIONS,)
