"""What is nearest to a vector: one product with all the others, which are kept in memory between two searches."""

from __future__ import annotations

import json
import math
import os
import sys
import threading
from array import array
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

from celeriac import Fail, Json

DIMENSIONS: Final = 4096
"""Numbers in a vector."""
IN_MEMORY: Final = 268_435_456
"""Bytes of collections that a process keeps between two searches."""

Row = Sequence[Any]
"""A document, a part of it, what is known of that, and its packed vector."""


class Matrix:
    """All vectors of a collection as it was at a version, with what passage each is of."""

    def __init__(self, rows: Sequence[Row], length: int) -> None:
        np = _numpy()
        self._names = [(document, part) for document, part, _, _ in rows]
        self._data: list[str] = [data for _, _, data, _ in rows]
        self._vectors = np.frombuffer(b"".join(bytes(row[3]) for row in rows), dtype="<f4").reshape(
            -1, length
        )
        self.size = self._vectors.nbytes + sum(map(len, self._data))

    def nearest(
        self, vector: Sequence[float], most: int, least: float, where: Mapping[str, Json]
    ) -> Iterator[tuple[tuple[str, int, dict[str, Json]], float]]:
        """Yield the nearest passages and how near each is; of several that are as near, in the order of their names."""
        np = _numpy()
        scores = self._vectors @ np.frombuffer(packed(vector), dtype="<f4")
        found = 0
        for index in np.argsort(-scores, kind="stable"):
            score = float(scores[index])
            if found == most or score < least:
                return
            data = json.loads(self._data[index])
            if all(name in data and data[name] == value for name, value in where.items()):
                found += 1
                yield (*self._names[index], data), max(-1.0, min(1.0, score))


class Matrices:
    """The matrices that were asked for last, as many as may be in memory."""

    def __init__(self, most: int = IN_MEMORY) -> None:
        self._most = most
        self._kept: OrderedDict[tuple[str, str], tuple[int, Matrix]] = OrderedDict()
        self._lock = threading.Lock()

    def get(
        self, place: tuple[str, str], version: int, length: int, read: Callable[[], Sequence[Row]]
    ) -> Matrix:
        """Return the matrix of a collection at a version, or after it; `read` returns its rows."""
        with self._lock:
            known = self._kept.get(place)
            if known is not None and known[0] == version:
                self._kept.move_to_end(place)
                return known[1]
        matrix = Matrix(read(), length)
        with self._lock:
            self._kept[place] = (version, matrix)
            self._kept.move_to_end(place)
            while sum(each.size for _, each in self._kept.values()) > self._most:
                self._kept.popitem(last=False)
        return matrix


def packed(vector: Sequence[float]) -> bytes:
    """Return a vector, brought to length one, as it is stored. Raises `Fail` (`collection.bad_vector`)."""
    length = math.sqrt(sum(each * each for each in vector)) if vector else 0.0
    if not (0.0 < length < math.inf) or len(vector) > DIMENSIONS:
        message = f"A vector has 1 to {DIMENSIONS:,} numbers, and they are not all 0."
        raise Fail("collection.bad_vector", message)
    found = array("f", (each / length for each in vector))
    if sys.byteorder == "big":
        found.byteswap()
    return found.tobytes()


def _numpy() -> Any:
    # more threads make these products slower, and take the other cores from the workers
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    import numpy as np

    return np
