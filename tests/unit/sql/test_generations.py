"""A bounded dict: what is used stays, what is not goes."""

from __future__ import annotations

from rwsplit.sql.generations import MAX_WEIGHT, Generations


def test_entries_in_use_survive_and_others_are_forgotten():
    memory: Generations[str, int] = Generations(4)
    for number, key in enumerate("abcd"):
        memory.put(key, number, 1)
        assert memory.get("a", 1) == 0
    memory.put("e", 4, 1)

    assert memory.get("a", 1) == 0
    assert memory.get("b", 1) is None
    assert len(memory) <= 4


def test_weight_bounds_it_as_well():
    memory: Generations[str, int] = Generations(1000)
    for key in "abcdef":
        memory.put(key, 1, MAX_WEIGHT // 4)

    assert len(memory) <= 4


def test_what_a_value_weighs_counts():
    memory: Generations[str, int] = Generations(1000, lambda value: value)
    for key in "abcdef":
        memory.put(key, MAX_WEIGHT // 4, 1)
    assert len(memory) <= 4


def test_clear_forgets_everything():
    memory: Generations[str, int] = Generations(10)
    memory.put("a", 1, 1)
    memory.clear()

    assert memory.get("a", 1) is None
    assert len(memory) == 0


def test_another_size_holds_from_the_next_entry_on():
    memory: Generations[int, int] = Generations(1000)
    for number in range(100):
        memory.put(number, number, 1)
    memory.resize(4)
    for number in range(100, 110):
        memory.put(number, number, 1)

    assert len(memory) <= 4
