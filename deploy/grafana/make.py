"""Writes the dashboards beside this file, and the alert rules of Prometheus: ``python -m deploy.grafana.make``.

What it writes is checked in, so that nobody needs the SDK to deploy; a test asserts that it is what this writes.
"""

from __future__ import annotations

import json
from pathlib import Path

import yaml
from grafana_foundation_sdk.cog.encoder import JSONEncoder

from deploy.grafana.alerts import prometheus_rules
from deploy.grafana.boards import DASHBOARDS

HERE = Path(__file__).parent
HEAD = "# Written by python -m deploy.grafana.make; edit deploy/grafana/alerts.py.\n"


def files() -> dict[Path, str]:
    """What is written, and where."""
    made = {
        HERE / f"{name}.json": json.dumps(make().build(), cls=JSONEncoder, indent=2) + "\n"
        for name, make in DASHBOARDS.items()
    }
    rules = yaml.safe_dump(prometheus_rules(), sort_keys=False, width=4096)
    return {**made, HERE.parent / "alerts.yml": HEAD + rules}


if __name__ == "__main__":
    for path, content in files().items():
        path.write_text(content, encoding="utf-8")
