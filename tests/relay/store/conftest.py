"""What stores are tested on: one server, and a Cluster, where each key is on the node of its slot."""

from __future__ import annotations

import pytest


@pytest.fixture(scope="session", params=["one server", "cluster"])
def redis_url(request: pytest.FixtureRequest, redis_url: str) -> str:
    """Takes the place of the one server's URL."""
    if request.param == "one server":
        return redis_url
    url: str = request.getfixturevalue("cluster").url
    return url
