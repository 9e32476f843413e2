"""``python -m benchmarks.limits``: what the rate limit costs a request, in this process and without a socket.

The middleware is called as aiohttp calls it, in front of a handler that does nothing; what that costs by itself is
taken off. The best of several runs: the machine's other programs can only add.
"""

from __future__ import annotations

import asyncio
import time

from aiohttp import web
from aiohttp.test_utils import make_mocked_request
from multidict import CIMultiDict

from handlers.guard import vouch
from handlers.rate_limit import Rate, RateLimit
from relay.telemetry import Telemetry

TIMES, RUNS = 20_000, 5
CLIENT = {"X-Forwarded-For": "198.51.100.7, 203.0.113.9, 10.0.0.2"}
ANSWER = web.Response()


async def stranger(request: web.Request) -> web.StreamResponse:
    return ANSWER


async def known(request: web.Request) -> web.StreamResponse:
    vouch(request)
    return ANSWER


async def seconds(limit: RateLimit | None, request: web.Request, vouched: bool) -> float:
    """Of one request, at best; ``limit`` None: without the middleware."""
    handler, best = known if vouched else stranger, float("inf")
    for _ in range(RUNS):
        began = time.perf_counter()
        for _ in range(TIMES):
            await (handler(request) if limit is None else limit.handle(request, handler))
        best = min(best, (time.perf_counter() - began) / TIMES)
    return best


async def main() -> None:
    app = web.Application()
    app.router.add_get("/", known)
    refused = Telemetry().refused.labels("rate")
    for what, most, vouched in (
        ("let in, a stranger", 10**9, False),
        ("let in, with a signature", 10**9, True),
        ("refused", 1, False),
    ):
        limit = RateLimit(Rate(most), {"/": "X-Twilio-Signature"}, refused, hops=2)
        headers = CIMultiDict({**CLIENT, **({"X-Twilio-Signature": "s"} if vouched else {})})
        request = make_mocked_request("GET", "/", headers, app=app)
        request._match_info = await app.router.resolve(request)
        cost = await seconds(limit, request, vouched) - await seconds(None, request, vouched)
        print(f"{what}: {cost * 1e6:.1f} us")


if __name__ == "__main__":
    asyncio.run(main())
