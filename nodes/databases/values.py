"""Values of a database as JSON. What JSON has no type for is text: numbers that must stay exact, times, ids."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from math import isfinite
from typing import Any
from uuid import UUID

from celeriac import Fail, Json


def rows_of(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> list[dict[str, Json]]:
    """Return rows as objects. Raises `Fail` (`sql.duplicate_column`) when two columns have one name."""
    if len(set(columns)) < len(columns):
        double = next(each for each in columns if list(columns).count(each) > 1)
        message = f"Two columns of the result are called {double!r}. Give one another name with AS."
        raise Fail("sql.duplicate_column", message)
    return [dict(zip(columns, map(to_json, row), strict=True)) for row in rows]


def to_json(value: Any) -> Json:
    """Return one value. Decimals, dates, times, intervals and ids become text, bytes base64, NaN and infinity null."""
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        return value if isfinite(value) else None
    if isinstance(value, (datetime, date, time)):
        return value.isoformat()
    if isinstance(value, (bytes, bytearray, memoryview)):
        return {"base64": base64.b64encode(bytes(value)).decode(), "size": len(value)}
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, (list, tuple)):
        return [to_json(each) for each in value]
    if isinstance(value, dict):
        return {str(key): to_json(each) for key, each in value.items()}
    if isinstance(value, (Decimal, UUID)):
        return str(value)
    return str(value)


def text_of(value: Json) -> Any:
    """Return a parameter for a database that knows no JSON: lists and objects become JSON text."""
    return json.dumps(value, ensure_ascii=False) if isinstance(value, (list, dict)) else value
