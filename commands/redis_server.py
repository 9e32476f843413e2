"""The Redis server a command works on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from config.settings import Settings
from relay.store.embedded import EmbeddedRedis


@contextmanager
def redis_of(settings: Settings) -> Iterator[str]:
    """The URL of the settings' server, or of the embedded one: that of a relay that runs, or one for the moment."""
    if settings.redis_url is not None:
        yield settings.redis_url.get_secret_value()
        return
    embedded = EmbeddedRedis.start(settings.data_dir)
    try:
        yield embedded.url
    finally:
        embedded.close()
