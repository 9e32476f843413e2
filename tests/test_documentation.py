"""Documentation that names tests: they are there."""

from __future__ import annotations

import re
from pathlib import Path

from config.values import CHECKOUT

SECURITY = CHECKOUT / "docs" / "security.md"
NAMED = re.compile(r"`(?:[\w/]*?(test_\w+\.py))?(?:::(\w+))?`")


def named(text: str) -> list[tuple[str, str]]:
    """(file, test or "") of each that is named; ``::test`` alone is of the file named last."""
    found, last = [], ""
    for file, test in NAMED.findall(text):
        last = file or last
        if file or test:
            found.append((last, test))
    return found


def test_the_tests_of_each_lesson_are_there() -> None:
    """What the page of security says is tested is tested by a test of that name."""
    files: dict[str, list[Path]] = {}
    for path in (CHECKOUT / "tests").rglob("test_*.py"):
        files.setdefault(path.name, []).append(path)
    tests = named(SECURITY.read_text(encoding="utf-8"))
    missing = [
        f"{file}::{test}"
        for file, test in tests
        if not any(f"def {test}(" in path.read_text(encoding="utf-8") or not test for path in files.get(file, []))
    ]
    assert missing == []
    assert len(tests) > 30


def test_names_are_read_as_they_are_written() -> None:
    """A path, a file alone, and a test of the file before."""
    assert named("`tests/a/test_b.py::test_c`, `::test_d`; `test_e.py` `guard.py`") == [
        ("test_b.py", "test_c"),
        ("test_b.py", "test_d"),
        ("test_e.py", ""),
    ]
