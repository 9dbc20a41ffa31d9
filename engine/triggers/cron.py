"""Times of a cron text in a time zone. Pure: instants are seconds since the epoch.

A clock on the wall shows some times twice a year or never, and what a cron text means then depends on its hours:

- Named hours (`30 2 * * *`, `0 9-17 * * *`) are times on the wall. One that is shown twice counts the first time; one that
  is left out counts at the first instant after it, and once, however many fall there.
- Hours that run through (a `*` or a `/` in the field of the hours) count time as it passes: what is shown twice comes twice,
  and what is left out does not come.

croniter finds times on a wall that never jumps; the jumps are dealt with here. It fires a named hour twice in autumn itself.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, tzinfo
from functools import lru_cache
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from croniter import croniter

FIELDS: Final = (5, 6)
"""Minute, hour, day of month, month, day of week; with six, a second stands in front."""

FURTHEST_YEARS: Final = 12
"""How far apart two times may be: the 29th of February is eight years away around 2100."""

_EPOCH: Final = datetime(1970, 1, 1)  # noqa: DTZ001  a time on the wall has no zone
_WEEK: Final = 7 * 86_400
_CHANCE: Final = re.compile(r"(?:^|[\s,/-])[HhRr](?=$|[\s,/(-])")
"""croniter draws lots for these letters."""


class CronInvalid(ValueError):
    """The text is no cron, or never comes."""


class Cron:
    """A cron text, ready to be asked."""

    def __init__(self, text: str) -> None:
        from croniter import CroniterError, croniter

        fields = text.split()
        if len(fields) not in FIELDS:
            raise CronInvalid(f"it has {len(fields)} fields")
        if _CHANCE.search(text):
            raise CronInvalid("chance has no part in it")
        try:
            self._found: croniter = croniter(
                " ".join(fields),
                _EPOCH,
                second_at_beginning=True,
                max_years_between_matches=FURTHEST_YEARS,
            )
        except (CroniterError, ValueError, TypeError, AttributeError, KeyError) as error:
            raise CronInvalid(str(error)) from None
        hours = fields[-4]
        self.passing = "*" in hours or "/" in hours

    def after(self, instant: int, zone: tzinfo) -> int | None:
        """Return the first time behind an instant, or None when there is none within years."""
        try:
            return self._passing_after(instant, zone) if self.passing else self._named_after(instant, zone)
        except (OverflowError, ValueError):  # behind the year 9999
            return None

    def matches(self, shown: datetime) -> bool:
        """Whether a time on the wall, in whole seconds, is one of those that are meant."""
        return next(self._walls(shown - timedelta(seconds=1)), None) == shown

    def _named_after(self, instant: int, zone: tzinfo) -> int | None:
        # Later times on the wall are never earlier instants, so nothing at or before what it shows now can still come.
        for shown in self._walls(_shown(instant, zone)):
            found = first_instant(shown, zone)
            if found > instant:
                return found
        return None

    def _passing_after(self, instant: int, zone: tzinfo) -> int | None:
        """Go from one jump of the clock to the next; in between, the wall and the time differ by a constant."""
        at = instant
        while True:
            offset = _offset(at, zone)
            shown = next(self._walls(_EPOCH + timedelta(seconds=instant + offset)), None)
            if shown is None:
                return None
            found = _seconds(shown) - offset
            jump = _next_jump(at, found, zone)
            if jump is None:
                return found
            instant, at = jump - 1, jump

    def _walls(self, shown: datetime) -> Iterator[datetime]:
        """Yield the times on a wall that never jumps, behind one."""
        from croniter import CroniterBadDateError

        found = copy.copy(self._found)
        found.set_current(shown, force=True)
        while True:
            try:
                yield found.get_next(datetime)
            except CroniterBadDateError:
                return


@lru_cache(maxsize=2048)
def parsed(text: str) -> Cron:
    """Return a cron text, ready to be asked. Raises `CronInvalid`."""
    return Cron(text)


def first_instant(shown: datetime, zone: tzinfo) -> int:
    """Return when a clock on the wall first shows a time, or, if it never does, when it jumps over it."""
    found = _seconds(shown) - _of(shown.replace(tzinfo=zone, fold=0))
    if _shown(found, zone) == shown:
        return found
    earlier = _seconds(shown) - _of(shown.replace(tzinfo=zone, fold=1))
    return _next_jump(earlier, found, zone) or found


def _next_jump(after: int, until: int, zone: tzinfo) -> int | None:
    """Return the first instant behind `after`, up to `until`, from which the clock on the wall is offset otherwise."""
    before = _offset(after, zone)
    low = after
    while low < until:
        high = min(low + _WEEK, until)
        if _offset(high, zone) != before:
            while high - low > 1:
                middle = (low + high) // 2
                low, high = (middle, high) if _offset(middle, zone) == before else (low, middle)
            return high
        low = high
    return None


def _shown(instant: int, zone: tzinfo) -> datetime:
    """Return what the clock on the wall shows."""
    return _EPOCH + timedelta(seconds=instant + _offset(instant, zone))


def _offset(instant: int, zone: tzinfo) -> int:
    return _of(datetime.fromtimestamp(instant, UTC).astimezone(zone))


def _of(moment: datetime) -> int:
    offset = moment.utcoffset()
    return 0 if offset is None else offset.days * 86_400 + offset.seconds


def _seconds(shown: datetime) -> int:
    apart = shown - _EPOCH
    return apart.days * 86_400 + apart.seconds
