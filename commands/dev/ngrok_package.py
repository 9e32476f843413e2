"""The ``ngrok`` package as a program, for machines that have no other ngrok: says what that one would.

    python -m commands.dev.ngrok_package HOST:PORT

The token is NGROK_AUTHTOKEN. It ends by SIGTERM, or with its standard input.
"""

from __future__ import annotations

import json
import sys

import ngrok


def main() -> None:
    try:
        listener = ngrok.forward(sys.argv[1], authtoken_from_env=True)
    except ValueError as error:  # ("failed to connect session", why, perhaps a code)
        say(lvl="eror", msg="failed to start", err=": ".join(str(part) for part in error.args))
        sys.exit(1)
    say(lvl="info", msg="started tunnel", url=listener.url())
    sys.stdin.read()


def say(**words: str) -> None:
    print(json.dumps(words), flush=True)


if __name__ == "__main__":
    main()
