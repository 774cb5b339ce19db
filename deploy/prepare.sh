# Sourced by run.sh and test.sh: makes .venv in the checkout from a lock, unless it is there.
# shellcheck shell=sh

say() { printf 'quintet: %s\n' "$*"; }

give_up() {
    printf 'quintet: %s\n' "$*" >&2
    exit 1
}

is_root() { [ "$(id -u)" = 0 ]; }

# apt_install PACKAGE... : installs Debian packages; fails where that cannot be.
apt_install() {
    is_root && command -v apt-get >/dev/null 2>&1 || return 1
    say "installing Debian packages: $*"
    DEBIAN_FRONTEND=noninteractive apt-get update -qq >/dev/null || return 1
    DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends "$@" >/dev/null
}

new_enough() {
    "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1
}

# Sets $python to an interpreter of 3.11 or newer; QUINTET_PYTHON names one to use.
find_python() {
    for python in ${QUINTET_PYTHON:-python3.11 python3.12 python3.13 python3.14 python3 python}; do
        if new_enough "$python"; then return; fi
    done
    if [ -n "${QUINTET_PYTHON:-}" ]; then
        give_up "QUINTET_PYTHON=$QUINTET_PYTHON is no Python of 3.11 or newer"
    fi
    found=$(python3 --version 2>/dev/null || echo 'no Python at all')
    give_up "needs Python 3.11 or newer and found $found; install one or name it in QUINTET_PYTHON"
}

# Some systems ship Python without the part that makes environments.
need_venv() {
    if "$python" -c 'import ensurepip, venv' >/dev/null 2>&1; then return; fi
    package=$("$python" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')
    apt_install "$package" || give_up "$python cannot make environments; install $package and start again"
    "$python" -c 'import ensurepip, venv' >/dev/null 2>&1 ||
        give_up "$python still cannot make environments after installing $package"
}

# Everything the environment depends on, in one digest. The path counts because the
# programs in an environment carry it: a moved checkout needs a new one.
environment_key() {
    .venv/bin/python - "$PWD" <<'PYTHON'
import hashlib, pathlib, sys
digest = hashlib.sha256(f"{sys.version}\n{sys.argv[1]}\n".encode())
for name in ("deploy/requirements.lock", "deploy/requirements-dev.lock", "pyproject.toml"):
    digest.update(hashlib.sha256(pathlib.Path(name).read_bytes()).digest())
print(digest.hexdigest())
PYTHON
}

# prepare LOCK STAMP... : brings .venv to what LOCK says and leaves the first STAMP; any of
# the stamps, if it fits, says there is nothing to do.
prepare() {
    lock=$1
    shift
    key=
    if .venv/bin/python -c 'import pip' >/dev/null 2>&1; then
        key=$(environment_key)
        for stamp in "$@"; do
            if [ "$(cat ".venv/$stamp" 2>/dev/null)" = "$key" ]; then return; fi
        done
    else
        find_python
        need_venv
        say "making .venv with $("$python" --version)"
        "$python" -m venv --clear .venv || give_up "cannot make .venv in $PWD"
        key=$(environment_key)
    fi

    rm -f .venv/quintet-runtime .venv/quintet-development
    say "installing what $lock lists, every file checked against its digest"
    .venv/bin/python -m pip -qq install --disable-pip-version-check --no-input \
        --require-hashes --requirement "$lock" ||
        give_up "the packages could not be installed; pip says why above"
    say "installing quintet itself"
    .venv/bin/python -m pip -qq install --disable-pip-version-check --no-input \
        --no-deps --no-build-isolation --no-index --editable . ||
        give_up "quintet could not be installed; pip says why above"
    printf '%s\n' "$key" >".venv/$1"
}
