"""What ends a measurement before it has figures."""

from __future__ import annotations

from relay.errors import RelayError


class BenchFailed(RelayError):
    """A sentence for whoever started it."""

    code = "bench_failed"
