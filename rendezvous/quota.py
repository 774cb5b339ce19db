"""How often one source may ask: token buckets in a table of bounded size.

A source is what ``protocol.address.source_prefix`` says: an IPv4 host or an IPv6 /64.
"""

from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

DEFAULT_CAPACITY: Final = 65_536
"""Sources remembered; a bucket costs about 200 bytes, so at most some 13 MiB."""


@dataclass(frozen=True, slots=True)
class Rate:
    """So many at once, and so many per second afterwards."""

    burst: float
    per_second: float

    @classmethod
    def per_minute(cls, count: float) -> "Rate":
        """Return *count* in any minute that follows a quiet one."""
        return cls(count, count / 60)


class Quota:
    """One token bucket per source.

    At capacity the source that asked least recently is forgotten: its bucket has had the
    longest time to fill up again.

    Args:
        rate: Of every bucket.
        capacity: Sources remembered.
    """

    def __init__(self, rate: Rate, capacity: int = DEFAULT_CAPACITY) -> None:
        self._rate = rate
        self._capacity = capacity
        self._buckets: OrderedDict[bytes, tuple[float, float]] = OrderedDict()

    def take(self, source: bytes, *, now: float) -> float:
        """Take one token of *source*.

        Returns:
            0.0 if there was one, else the seconds until there is; none was taken then.
        """
        rate = self._rate
        tokens, since = self._buckets.pop(source, (rate.burst, now))
        tokens = min(rate.burst, tokens + (now - since) * rate.per_second)
        taken = tokens >= 1.0
        self._buckets[source] = (tokens - 1.0 if taken else tokens, now)
        if len(self._buckets) > self._capacity:
            self._buckets.popitem(last=False)
        return 0.0 if taken else (1.0 - tokens) / rate.per_second

    def __len__(self) -> int:
        return len(self._buckets)
