"""`rwsplit node`."""

from __future__ import annotations

import json

import attrs
import pytest

from rwsplit.cli import node
from rwsplit.cluster.node import AdminState
from tests.support.operator import NODES

PROMOTED = "replica1 is the primary (timeline 2), writes resumed after 2.1 s"
#: The fake leaves the old primary as it was.
LEFT = "still to do: node primary is an old primary: stop it and rebuild it (pg_rewind)"


@pytest.mark.parametrize(
    ("verb", "done", "said"),
    [
        ("attach", "ATTACHED replica1", "replica1 is attached"),
        ("detach", "DETACHED replica1", "replica1 is detached"),
        ("drain", "DRAINING replica1", "replica1 is draining"),
        ("promote", "PROMOTE replica1", f"{PROMOTED}\n{LEFT}"),
    ],
)
def test_verbs_are_carried_out_and_said(run, url, operator, verb, done, said):
    result = run("node", verb, "replica1")
    assert (result.exit_code, result.stdout.strip()) == (0, said)
    assert operator.done == [done]


@pytest.mark.parametrize("verb", ["attach", "detach", "drain"])
def test_what_a_restart_would_undo_is_told(run, url, operator, verb):
    """It used to be in the log of the service only."""
    operator.unsaved = "admin.state_file: cannot write /x.state: Read-only file system"
    result = run("node", verb, "replica1")
    assert result.exit_code == 0
    assert result.stderr == (
        "rwsplit: not saved; a restart of rwsplit undoes it: "
        "admin.state_file: cannot write /x.state: Read-only file system\n"
    )


def test_a_promotion_by_force_says_what_is_lost(run, url, operator):
    result = run("node", "promote", "replica1", "--force")
    assert result.stdout.splitlines() == [
        "node replica1 lacks 7 bytes of WAL: that is lost",
        PROMOTED,
        LEFT,
    ]
    assert operator.done == ["PROMOTE replica1 FORCE"]


def test_a_node_is_accepted_as_the_primary(run, url, operator):
    result = run("node", "accept", "primary")
    assert (result.exit_code, result.stdout) == (0, "primary is the primary\n")
    assert operator.done == ["ACCEPT primary"]
    assert "is a replica" in run("node", "accept", "replica1").stderr


def test_a_decision_that_a_restart_would_undo_is_told(run, url, operator):
    operator.unsaved = "admin.state_file: cannot write /x.state: Read-only file system"
    result = run("node", "accept", "primary")
    assert (result.exit_code, result.stdout) == (0, "primary is the primary\n")
    assert "not saved; a restart of rwsplit undoes it: admin.state_file" in result.stderr


def test_nodes_are_listed(run, url):
    assert "LAGGING" in run("node", "list").stdout
    assert len(json.loads(run("node", "list", "--json").stdout)) == 4


def test_an_unknown_node_is_refused_with_those_there_are(run, url):
    result = run("node", "attach", "pg9; SHUTDOWN")
    assert result.exit_code == 1
    assert "there is no node 'pg9; SHUTDOWN'; the nodes are primary, replica1" in result.stderr


def test_what_cannot_be_done_is_one_sentence(run, url):
    result = run("node", "promote", "primary")
    assert (result.exit_code, result.stderr) == (1, "rwsplit: primary is the primary already\n")


def test_drain_can_wait_until_nothing_runs(run, url):
    result = run("node", "drain", "replica1", "--wait")
    assert (result.exit_code, result.stdout) == (0, "replica1 is drained and detached\n")


class NoPause:
    def wait(self, _: float) -> None:
        pass


@pytest.mark.parametrize(
    ("state", "sentence"),
    [
        (AdminState.DRAINING, "replica1 still has 0 statements or transactions after 1 s"),
        (AdminState.ATTACHED, "replica1 was attached again"),
    ],
)
def test_a_wait_ends_when_it_should(run, url, operator, monkeypatch, state, sentence):
    monkeypatch.setattr(node.threading, "Event", NoPause)
    operator.set_admin_state = lambda name, wanted: operator.replace(
        attrs.evolve(NODES[1], admin=state)
    )
    result = run("node", "drain", "replica1", "--wait", "--timeout", "1")
    assert result.exit_code == 1
    assert sentence in result.stderr
