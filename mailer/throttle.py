"""
How often something is let pass for one source.
"""

import ipaddress

MAX_SOURCES = 1024  # remembered at once; the one not heard of for longest is forgotten first


class Throttle:
    """
    A token bucket for each source.

    Args:
        burst: How often in a row.
        interval: Seconds until there is one more.
    """

    def __init__(self, burst: int, interval: float) -> None:
        self._burst = burst
        self._interval = interval
        self._free_at: dict[str, float] = {}  # when the bucket will be full, oldest call first

    def wait(self, source: str, now: float) -> float:
        """
        Count a call; return 0 if it may pass, else the seconds until one may.

        Args:
            now: Seconds, of any steady clock.
        """
        full_at = max(self._free_at.pop(source, now), now)
        late = full_at - now - (self._burst - 1) * self._interval
        if late <= 0:
            full_at += self._interval
        self._free_at[source] = full_at
        if len(self._free_at) > MAX_SOURCES:
            del self._free_at[next(iter(self._free_at))]
        return max(late, 0.0)


def source_of(host: str) -> str:
    """
    Return what stands for everyone who can use an address: an IPv6 one stands for its /64.
    """
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return host
    if isinstance(address, ipaddress.IPv4Address):
        return str(address)
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(ipaddress.ip_network((address, 64), strict=False))
