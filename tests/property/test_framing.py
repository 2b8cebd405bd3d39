"""However bytes are cut, they are the same frames; and no bytes make framing stumble."""

from __future__ import annotations

import hypothesis.strategies as st
from hypothesis import given

from rwsplit.errors import ProtocolViolation
from rwsplit.protocol.framing import frame, split

frames = st.lists(st.tuples(st.integers(0, 255), st.binary(max_size=40)), max_size=20)


@given(frames=frames, cut=st.integers(0, 60))
def test_frames_are_found_as_they_were_made(frames: list[tuple[int, bytes]], cut: int) -> None:
    data = b"".join(frame(code, payload) for code, payload in frames)
    cut_off = data[: max(0, len(data) - cut)]

    found = list(split(cut_off))

    whole = [(code, cut_off[start + 5 : end]) for code, start, end in found]
    assert whole == frames[: len(whole)]
    behind = found[-1][2] if found else 0
    assert behind == sum(5 + len(payload) for _, payload in whole)
    if len(whole) < len(frames):
        assert len(cut_off) - behind < 5 + len(frames[len(whole)][1])


@given(data=st.binary(max_size=200))
def test_random_bytes_are_frames_or_a_violation(data: bytes) -> None:
    behind = 0
    try:
        for _, start, end in split(data):
            assert start == behind < end <= len(data)
            behind = end
    except ProtocolViolation:
        pass
