"""Which addresses are public."""

from __future__ import annotations

import pytest

from channels.internet import is_public


@pytest.mark.parametrize(
    "address", ["8.8.8.8", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808", "2002:808:808::1"]
)
def test_the_public_internet(address: str) -> None:
    """Addresses of the internet are public, also where an IPv6 one stands for an IPv4 one."""
    assert is_public(address)


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "127.255.255.254",
        "0.0.0.0",
        "10.1.2.3",
        "172.16.0.1",
        "192.168.1.1",
        "100.64.0.1",
        "100.100.100.200",  # metadata of Alibaba Cloud
        "169.254.169.254",  # of most platforms
        "168.63.129.16",  # of Azure
        "192.0.0.192",  # of Oracle Cloud
        "192.0.2.1",
        "198.18.0.1",
        "224.0.1.1",
        "239.1.1.1",
        "240.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "::127.0.0.1",
        "fe80::1",
        "fe80::1%eth0",
        "fec0::1",
        "fc00::1",
        "fd00:ec2::254",  # metadata of AWS
        "ff02::1",
        "192.88.99.1",
        "2001:db8::1",
        "3fff::1",
        "2001::1",
        "::ffff:127.0.0.1",
        "::ffff:169.254.169.254",
        "64:ff9b::7f00:1",
        "64:ff9b::a9fe:a9fe",
        "64:ff9b:1::808:808",
        "2002:7f00:1::1",
        "2002:a9fe:a9fe::",
        "2130706433",
        "0x7f.1",
        "0177.0.0.1",
        "127.1",
        "localhost",
        "",
    ],
)
def test_everything_else(address: str) -> None:
    """This machine, private and shared networks, groups, metadata and what is reserved are not; nor is what is no
    address in its usual spelling, nor an IPv6 address that stands for any of them."""
    assert not is_public(address)
