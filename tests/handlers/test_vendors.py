"""Which hosts are the vendors' own."""

from __future__ import annotations

from config.settings import load_settings
from handlers.vendors import own_addresses


def test_the_hosts_of_the_settings() -> None:
    """Every setting that stands for a vendor's address counts; none does by itself."""
    assert own_addresses(load_settings(None, {})) == []
    values = {
        "TWILIO_API_BASE": "http://127.0.0.1:9001",
        "OPENAI_BASE_URL": "http://127.0.0.1:9002/v1",
        "OPENAI_FALLBACK_MODEL": "other",
        "OPENAI_FALLBACK_BASE_URL": "https://models.example/v1",
        "PUBLIC_URL": "https://relay.example",
        "REPORT_URL": "https://crm.example",
    }
    assert sorted(own_addresses(load_settings(None, values))) == [
        "http://127.0.0.1:9001",
        "http://127.0.0.1:9002/v1",
        "https://models.example/v1",
    ]
