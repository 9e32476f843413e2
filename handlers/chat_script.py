"""The widget's script, put together from its parts in ``handlers/pages/chat``, in a function of their own, so that they
share no name with the page they run in. Comments, and spaces that only people need, are left out; nothing is renamed or
rewritten.

This reads no JavaScript but ours: statements end with a semicolon, a pattern stands where a value may begin, strings
are in double quotes or backticks, and no two operators meet that would be another one together.
"""

from __future__ import annotations

import re
from pathlib import Path

import orjson

FOLDER = Path(__file__).parent / "pages" / "chat"
PARTS = ("texts", "markdown", "wire", "talk", "panel", "widget")

_GAP = r"(?: \s | //[^\n]*+ )"
_SCRIPT = re.compile(
    rf"""
      (?P<kept>
          "(?:\\.|[^"\\])*" | `(?:\\.|[^`\\])*`
        | (?<=[(=\ ]) / (?![/\ ]) (?: \\. | \[(?:\\.|[^]\\])*\] | [^/\\\n\[] )+ / [a-z]*
      )
    | [;,] {_GAP}*+ (?=[]}}]) | , {_GAP}*+ (?=\))
    | {_GAP}*+ (?P<sign> [-+*%=<>!?:;,.&|(){{}}\[\]] ) {_GAP}*+
    | (?P<space> {_GAP}++ )
    """,
    re.VERBOSE,
)
_STYLE = re.compile(r";\s*(?=\})|\s*(?P<sign>[{};,>])\s*|(?P<kept>:)\ +|(?P<space>\s+)")


def script(folder: Path = FOLDER) -> bytes:
    """What browsers are sent. The style is a constant of it."""
    style = _tight(_STYLE, (folder / "widget.css").read_text("utf-8"))
    parts = [f"const STYLE={orjson.dumps(style).decode()};"]
    parts += [_tight(_SCRIPT, (folder / f"{name}.js").read_text("utf-8")) for name in PARTS]
    return f'(()=>{{"use strict";{"".join(parts)}}})();\n'.encode()


def _tight(tokens: re.Pattern[str], text: str) -> str:
    def rewrite(found: re.Match[str]) -> str:
        named = found.groupdict()
        return named.get("kept") or named["sign"] or (" " if named["space"] else "")

    return tokens.sub(rewrite, text).strip()
