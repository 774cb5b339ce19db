#!/bin/sh
# Shows Quintet on this machine alone: a rendezvous node, a few peers, a whole session.
# Needs Python 3.11 or newer and, the first time, a network to install from. Arguments go
# to `quintet demo`.
set -eu
cd "$(dirname "$0")/.."
. deploy/prepare.sh

prepare deploy/requirements.lock quintet-runtime quintet-development
exec .venv/bin/quintet demo "$@"
