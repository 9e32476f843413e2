"""What is stored as JSON carries the version of its form, for an older and a newer process run side by side in every
restart, and each reads what the other one has written.

The rule for whoever changes the form of something stored:

- A field may be added at any time, and the version stays. Readers pass over fields they do not know, and do without
  those that are missing; no field is taken away. Who writes a value anew that a newer process may have written keeps
  the fields it does not know (``items.py``).
- The version is raised only where an older reader would be wrong. It takes such a value for one that is not there, goes
  on without it, and leaves it alone: it neither rewrites nor removes it.
- Fields of hashes are set one by one, so that unknown ones stay. Neither a key nor a field changes its meaning: another
  meaning is another name. So is another kind of work that is due, or another set of values with an end of its own.
- What goes out and comes back, such as tickets and the queries of our URLs, is understood by one release and written
  by the next.

A value without a version is of the first: until it had its rule, not every form carried one.
``tests/upgrade`` keeps what each form looked like, and holds every later version to reading it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

FIRST = 1


def dump(fields: Mapping[str, object], version: int = FIRST) -> bytes:
    return orjson.dumps({"v": version, **fields})


def load(raw: bytes | str, version: int = FIRST) -> dict[str, Any] | None:
    """The fields, for a reader that knows the forms up to this version; None for a newer one, and for what is none."""
    try:
        data = orjson.loads(raw)
    except orjson.JSONDecodeError:
        return None
    if not isinstance(data, dict):
        return None
    given = data.pop("v", FIRST)
    return data if isinstance(given, int) and given <= version else None
