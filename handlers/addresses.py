"""Whose request it is, by the address it comes from: the peer's, or what the proxies in front of us say it is."""

from __future__ import annotations

import ipaddress
from functools import lru_cache

from aiohttp import web

FORWARDED_FOR = "X-Forwarded-For"


def client_address(request: web.BaseRequest, hops: int) -> str:
    """The client as limits count it: an IPv4 address, or the /64 network of an IPv6 one, which is one customer's.

    ``hops``: trusted proxies in front. Each adds whom it was asked by at the right end of ``X-Forwarded-For``, so the
    client is the n-th from there; what stands to the left of it anybody may have written. Where it is missing or no
    address it counts as the peer's: all of these share one address, and nobody gets an address of their own choosing.
    """
    if hops:
        told = ",".join(request.headers.getall(FORWARDED_FOR, ())).rsplit(",", hops)
        if len(told) >= hops and (address := network_of(told[-hops])):
            return address
    peer = request.remote or ""
    return network_of(peer) or peer


@lru_cache(maxsize=4096)
def network_of(text: str) -> str:
    """An address as text, a port behind it or not, as limits count it; "" for what is none."""
    text = text.strip()
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return ""
    if isinstance(address, ipaddress.IPv4Address):
        return str(address)
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return f"{ipaddress.IPv6Address(int(address) >> 64 << 64)}/64"


__all__ = ["client_address", "network_of"]
