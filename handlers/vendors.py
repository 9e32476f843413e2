"""Which hosts are the vendors' own, as the settings have them: for ``channels.outgoing``."""

from __future__ import annotations

from config.settings import Settings


def own_addresses(settings: Settings) -> list[str]:
    """The URLs of every setting that puts another address in the place of a vendor's."""
    names = (name for name in Settings.model_fields if name.endswith(("_api_base", "_base_url")))
    return [url for name in names if (url := getattr(settings, name))]
