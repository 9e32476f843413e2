#!/bin/sh
# Looks up the pinned packages in PyPI's list of known vulnerabilities, with a tool in an environment of its own that is
# thrown away. Exit status 0: each was looked up and none is known to be vulnerable.
#
#   sh commands/audit.sh
set -eu
cd "$(dirname "$0")/.."
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT

fail() {
    echo "$1" >&2
    exit 1
}

.venv/bin/python -m venv "$place/venv"
"$place/venv/bin/pip" --disable-pip-version-check install --quiet 'pip-audit>=2.10,<3' ||
    fail "pip-audit could not be installed; make audit needs the network."

# --strict: a package that could not be looked up is a failure and not a line in passing.
for file in requirements dev redis; do
    echo "requirements/$file.txt"
    "$place/venv/bin/pip-audit" --strict --no-deps --disable-pip --progress-spinner off \
        --requirement "requirements/$file.txt" ||
        fail "requirements/$file.txt has a finding, or could not be looked up (that needs the package index); see above."
done
