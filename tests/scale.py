"""How large tests are that could be as large as one likes: small, or as RELAY_SCALE tells.

RELAY_SCALE=1 .venv/bin/pytest tests/chaos        # the full figures
RELAY_SCALE=0.1 .venv/bin/pytest tests/chaos      # a tenth of them
"""

from __future__ import annotations

import os


def scaled(full: int, small: int) -> int:
    """``small``, or the share of ``full`` that RELAY_SCALE (0 to 1) tells; at least 1."""
    share = os.environ.get("RELAY_SCALE", "")
    return max(1, round(full * min(1.0, float(share)))) if share else small
