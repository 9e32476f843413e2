"""``python -m benchmarks.first_paint``: how soon the dashboard is to be seen, in the system's Chromium, over loopback.

The server is a process of its own with a busy house's data. Each time has a new profile, so nothing is kept from the
time before. Told by the browser: the first paint with content, and when the numbers stand. Needs the packages of
``requirements/dev.txt``. Exit status 1 when the median is over the target.
"""

from __future__ import annotations

import asyncio
import statistics
import sys

from playwright.async_api import Browser, async_playwright

from tests.browser.chromium import FLAGS, MISSING, executable

TARGET_MS = 300.0
TIMES = 15
PATHS = ("/dashboard", "/dashboard/calls", f"/dashboard/calls/CA{0:032x}")

PAINTED = "performance.getEntriesByName('first-contentful-paint')[0]?.startTime ?? null"
LOADED = """
[performance.getEntriesByType('navigation')[0], ...performance.getEntriesByType('resource')]
    .filter((each) => !each.name.includes('/api/') && !each.name.includes('/events'))
    .reduce((sum, each) => sum + each.encodedBodySize, 0)
"""


async def once(browser: Browser, url: str) -> tuple[float, float]:
    """(ms to the first paint, bytes of the page and what it loads, as sent)."""
    context = await browser.new_context(viewport={"width": 1440, "height": 900})
    try:
        page = await context.new_page()
        await page.goto(url)
        while (painted := await page.evaluate(PAINTED)) is None:
            await page.wait_for_timeout(20)
        return painted, await page.evaluate(LOADED)
    finally:
        await context.close()


async def main() -> int:
    if (path := executable()) is None:
        print(MISSING)
        return 1
    server = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.fakes.dashboard", "0", stdout=asyncio.subprocess.PIPE
    )
    try:
        assert server.stdout is not None
        origin = (await server.stdout.readline()).decode().strip().removesuffix("/dashboard")
        missed = False
        async with async_playwright() as playwright:
            browser = await playwright.chromium.launch(executable_path=path, args=FLAGS)
            await once(browser, origin + PATHS[0])  # the browser itself gets ready
            for path in PATHS:
                tries = [await once(browser, origin + path) for _ in range(TIMES)]
                times = sorted(ms for ms, _ in tries)
                median = statistics.median(times)
                missed |= median > TARGET_MS
                print(
                    f"{path.replace('CA' + '0' * 32, '{id}')}: first paint {median:.0f} ms (median of {TIMES}; "
                    f"{times[0]:.0f} to {times[-1]:.0f}), {tries[0][1] / 1000:.1f} kB sent"
                )
            await browser.close()
        return int(missed)
    finally:
        server.terminate()
        await server.wait()


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
