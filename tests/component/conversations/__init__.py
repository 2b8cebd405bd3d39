"""Conversations around the relay, one file for each noun; what is wrong today is marked with what the relay does instead."""

from __future__ import annotations

from importlib import import_module
from pkgutil import iter_modules
from typing import Final

from tests.support.conversation.steps import Conversation

ALL: Final[tuple[Conversation, ...]] = tuple(
    conversation
    for module in iter_modules(__path__)
    for conversation in import_module(f"{__name__}.{module.name}").CONVERSATIONS
)
