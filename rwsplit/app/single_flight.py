"""SingleFlight: callers that ask for the same key at the same time share one attempt to find its value.

An attempt has *begun* once it sends its first question. A caller that comes after that may know of a change which the answer
does not contain, so it waits for the attempt to end and then looks again at what is known. So at most two attempts for one
key follow each other, however many callers there are. The callers of one attempt also share its failure. If the caller that
runs an attempt is cancelled, the attempt is abandoned, and the next caller starts one.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

import trio

from rwsplit.errors import RwsplitError

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")


class Flight(Generic[Value]):
    """One attempt."""

    def __init__(self) -> None:
        self.has_begun = False
        self._over = trio.Event()
        self._value: Value | None = None
        self._error: RwsplitError | None = None

    def begin(self) -> None:
        """Note that the first question is about to be asked."""
        self.has_begun = True

    async def wait_over(self) -> None:
        """Block until it has succeeded, failed, or been abandoned."""
        await self._over.wait()

    def outcome(self) -> Value | None:
        """Return the value found, None if the attempt was abandoned; raise the error it failed with."""
        if self._error is not None:
            # A copy: raised by many callers, one exception's traceback would grow with each.
            raise self._error.with_traceback(None)
        return self._value

    async def run(self, attempt: Callable[[Flight[Value]], Awaitable[Value]]) -> Value:
        """Make the attempt."""
        try:
            self._value = await attempt(self)
        except RwsplitError as error:
            self._error = error
            raise
        else:
            return self._value
        finally:
            self._over.set()


class SingleFlight(Generic[Key, Value]):
    """The attempts under way, by their keys."""

    def __init__(self) -> None:
        self._flights: dict[Key, Flight[Value]] = {}

    def __len__(self) -> int:
        return len(self._flights)

    async def find(
        self,
        key: Key,
        known: Callable[[], Value | None],
        attempt: Callable[[Flight[Value]], Awaitable[Value]],
    ) -> Value:
        """Return what is *known* of *key*, else what an *attempt* finds: this caller's, or the one under way.

        Raises:
            RwsplitError: the attempt failed.
        """
        while True:
            value = known()
            if value is not None:
                return value
            flight = self._flights.get(key)
            if flight is None:
                return await self._lead(key, attempt)
            was_in_time = not flight.has_begun
            await flight.wait_over()
            if was_in_time:
                value = flight.outcome()
                if value is not None:
                    return value

    async def _lead(
        self, key: Key, attempt: Callable[[Flight[Value]], Awaitable[Value]]
    ) -> Value:
        flight = self._flights[key] = Flight[Value]()
        try:
            return await flight.run(attempt)
        finally:
            del self._flights[key]
