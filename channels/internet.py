"""Which addresses belong to the public internet, whatever way they are written in."""

from __future__ import annotations

import ipaddress

_UNICAST = ipaddress.IPv6Network("2000::/3")
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
# What ``ipaddress`` of some Python we run on takes for public: protocol assignments (Oracle Cloud's metadata among
# them), the relays of 6to4, Azure's service to its machines, and documentation.
_SPECIAL = tuple(map(ipaddress.IPv4Network, ("192.0.0.0/24", "192.88.99.0/24", "168.63.129.16/32")))
_DOCUMENTATION = ipaddress.IPv6Network("3fff::/20")


def is_public(address: str) -> bool:
    """Whether an IP address is one of the public internet, and not of this machine, a private network, a group or a
    platform's metadata. An IPv6 address that stands for an IPv4 one is judged by that. False for what is no address."""
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return False
    if isinstance(ip, ipaddress.IPv6Address):
        inner = _embedded(ip)
        if inner is None:
            return ip in _UNICAST and ip.is_global and ip not in _DOCUMENTATION
        ip = inner
    return ip.is_global and not ip.is_multicast and not any(ip in each for each in _SPECIAL)


def _embedded(ip: ipaddress.IPv6Address) -> ipaddress.IPv4Address | None:
    """The IPv4 address that is reached by this one, by any of the ways there are: IPv4-mapped, NAT64, 6to4."""
    if ip in _NAT64:
        return ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
    return ip.ipv4_mapped or ip.sixtofour


__all__ = ["is_public"]
