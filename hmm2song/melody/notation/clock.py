"""The tempo map of files that count time in units, such as the ticks of MIDI: units -> seconds."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable


class Clock:
    """Converts units to seconds.

    A unit lasts ``unit_s``, from each of the ``changes`` (unit, seconds per unit from there on) as long as that says;
    these come in order. Unit 0 is at ``start_s``.
    """

    def __init__(self, unit_s: float, changes: Iterable[tuple[float, float]], start_s: float = 0.0) -> None:
        self._starts = [(0.0, start_s, unit_s)]  # (unit, second there, seconds per unit from there on)
        for unit, new_unit_s in changes:
            self._starts.append((unit, self.second(unit), new_unit_s))

    def second(self, unit: float) -> float:
        """Return the time of a unit."""
        index = max(0, bisect_right(self._starts, unit, key=lambda start: start[0]) - 1)
        start_unit, start_s, unit_s = self._starts[index]
        return start_s + (unit - start_unit) * unit_s
