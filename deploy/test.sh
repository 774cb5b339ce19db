#!/bin/sh
# Runs every check of the project: style, types, import contracts, advisories, tests.
# Arguments go to pytest. With CI=true a missing tool is a failure, not a skip.
set -eu
cd "$(dirname "$0")/.."
. deploy/prepare.sh

# What tests start besides Python, as program:package.
missing=
for pair in git:git rsync:rsync ip:iproute2 nft:nftables ps:procps systemd-analyze:systemd \
    redis-server:redis-server chromium:chromium; do
    command -v "${pair%%:*}" >/dev/null 2>&1 || missing="$missing ${pair#*:}"
done
if [ -n "$missing" ]; then
    # shellcheck disable=SC2086  # a list of words
    apt_install $missing || say "going on without$missing; the tests that need them say so"
fi

prepare deploy/requirements-dev.lock quintet-development

failed=
# check NAME COMMAND... : runs one check, shows its output only if it fails.
check() {
    name=$1
    shift
    if output=$("$@" 2>&1); then
        say "$name: passed"
    else
        printf '%s\n' "$output"
        say "$name: FAILED"
        failed="$failed $name"
    fi
}

check style .venv/bin/ruff check .
check format .venv/bin/ruff format --check .
check types .venv/bin/mypy
check imports .venv/bin/lint-imports --no-logo
.venv/bin/python deploy/audit.py || failed="$failed advisories"

status=0
QUINTET_FAILED_CHECKS=$failed .venv/bin/python -m pytest "$@" || status=$?
if [ "$status" = 1 ]; then
    # Real processes on a busy machine miss a deadline now and then; what is broken fails again.
    say "what failed above is tried once more by itself"
    status=0
    QUINTET_FAILED_CHECKS=$failed .venv/bin/python -m pytest --last-failed \
        --last-failed-no-failures none "$@" || status=$?
fi
# The tests' closing line stays the last one; the checks that failed stand above it.
if [ -n "$failed" ] && [ "$status" = 0 ]; then status=1; fi
exit "$status"
