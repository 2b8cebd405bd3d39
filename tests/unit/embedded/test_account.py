from __future__ import annotations

import os

import pytest

from rwsplit.embedded.account import Account


@pytest.mark.skipif(os.geteuid() != 0, reason="only root switches accounts")
def test_root_switches_to_an_unprivileged_account():
    account = Account.for_servers()

    assert account.name in {"postgres", "nobody"}
    assert account.switch == {"user": account.uid, "group": account.gid, "extra_groups": []}
    assert account.uid > 0


@pytest.mark.skipif(os.geteuid() == 0, reason="root switches accounts")
def test_everybody_else_stays_who_they_are():
    assert Account.for_servers() == Account()


def test_our_own_account_needs_no_switch():
    assert Account().switch == {}
