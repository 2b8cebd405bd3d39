"""Function calls: the primary, and a pin where state may be left."""

import pytest

from rwsplit.session.function_calls import (
    PLAIN,
    SETSEED_OID,
    WITH_SEED,
    WITH_STATE,
    facts_of_call,
)
from rwsplit.session.pinning import leaves_seed

LO_OPEN = 952
SET_CONFIG = 2078


def test_a_large_object_function_only_needs_the_primary():
    assert facts_of_call(LO_OPEN) is PLAIN
    assert PLAIN.may_write
    assert PLAIN.state is None


def test_the_seed_is_known_by_its_function():
    assert facts_of_call(SETSEED_OID) is WITH_SEED
    assert leaves_seed(WITH_SEED)


@pytest.mark.parametrize("oid", [SET_CONFIG, 2880, 16384, 99999, 6210, 0])
def test_whatever_else_is_called_pins(oid):
    assert facts_of_call(oid) is WITH_STATE
    assert WITH_STATE.state is not None
