"""Numbers measured along a film: compact, since a film of hours has tens of thousands of them."""

import numpy as np
from numpy.typing import ArrayLike


class Track:
    """Rows of float64 with their times, which don't fall. What is unknown is NaN."""

    def __init__(self, *fields: str | tuple[str, int]) -> None:
        """``fields`` are names of numbers, and names with lengths of vectors."""
        shapes = [(field, ()) if isinstance(field, str) else (field[0], (field[1],)) for field in fields]
        self._rows = np.empty(64, [("time_s", np.float64), *((name, np.float64, shape) for name, shape in shapes)])
        self._count = 0

    def is_due(self, time_s: float, every_s: float) -> bool:
        """Whether a row of that time is to be added, ``every_s`` after the last."""
        return not self._count or time_s - float(self._rows["time_s"][self._count - 1]) >= every_s

    def add(self, time_s: float, **values: ArrayLike | None) -> None:
        """The next row; fields that aren't given, or are None, are unknown."""
        if self._count == len(self._rows):
            self._rows = np.concatenate([self._rows, np.empty_like(self._rows)])
        row = self._rows[self._count]
        for name in self._rows.dtype.names or ():
            value = values.get(name)
            row[name] = np.nan if value is None else value
        row["time_s"] = time_s
        self._count += 1

    def inside(self, start_s: float, end_s: float) -> np.ndarray:
        """The rows of a span, or the one nearest to it: an array with the fields' names."""
        rows = self._rows[: self._count]
        first, last = np.searchsorted(rows["time_s"], (start_s, end_s))
        if first < last or not self._count:
            return rows[first:last]
        near = rows[max(0, first - 1) : first + 1]
        nearest = int(np.abs(near["time_s"] - start_s).argmin())
        return near[nearest : nearest + 1]


def known(values: np.ndarray) -> np.ndarray:
    """Those of ``(n,)`` or ``(n, d)`` that aren't unknown."""
    is_known: np.ndarray = ~np.isnan(values)
    return values[is_known if values.ndim == 1 else is_known.all(axis=1)]
