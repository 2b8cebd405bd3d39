"""Whatever goes wrong at whatever step of a conversation, everything comes to rest, and nothing is lost or done twice.

All cases are some ten thousand; without RWSPLIT_FAULTS=all each conversation has a part of them tried, the same each time.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Final
from zlib import crc32

import pytest

from tests.component.conversations import ALL
from tests.support.conversation.steps import Conversation
from tests.support.conversation.sweep import Case, cases, failure

ALL_CASES: Final = os.environ.get("RWSPLIT_FAULTS") == "all"
#: One case of so many is tried otherwise.
SHARE: Final = 8
#: What cases may fail with as long as a conversation says that it is wrong.
KNOWN: Final = {each.breaks for each in ALL if each.wrong and each.breaks}


def chosen(found: Sequence[Case]) -> Sequence[Case]:
    """Return those of the cases of a conversation that are tried."""
    if ALL_CASES:
        return found
    first = crc32(found[0].conversation.title.encode()) % SHARE
    return found[first::SHARE]


@pytest.mark.parametrize(
    "conversation",
    [each for each in ALL if each.injected and not each.wrong],
    ids=lambda each: each.title,
)
def test_whatever_goes_wrong_all_comes_to_rest(conversation: Conversation):
    failures = [failure(case) for case in chosen(cases(conversation))]

    failures = [each for each in failures if each and not any(known in each for known in KNOWN)]

    assert not failures, f"{len(failures)} cases fail:\n\n" + "\n\n".join(failures[:3])
