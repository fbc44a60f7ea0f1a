#!/usr/bin/env bash
# Runs a command of this repository as on Debian 13, with its servers at their standard ports:
#
#   scripts/debian-13/run.sh vitest run test/contract/rabbitmq.test.ts
#   scripts/debian-13/run.sh --valkey vitest run test/contract/redis.test.ts
#   scripts/debian-13/run.sh                      # says which servers there are
#
# The first call makes the root folder of that system (a few minutes, 1.5 GB; MERSAL_DEBIAN_13, by
# default /var/tmp/mersal-debian-13) from the packages of Debian. Nothing of this machine changes.
# Each call has a network, processes and changes of the root folder of its own, which go with it:
# several may run at once. Needs root, Linux, and `npm ci` in this repository.
set -euo pipefail
here="$(cd "$(dirname "$0")" && pwd)"
repository="$(cd "$here/../.." && pwd)"
root="${MERSAL_DEBIAN_13:-/var/tmp/mersal-debian-13}"
[ "$(id -u)" -eq 0 ] || { echo 'run.sh has to be run by root: it makes a root folder and a network of its own' >&2; exit 2; }
[ -x "$repository/node_modules/.bin/node" ] || { echo "run 'npm ci' in $repository first" >&2; exit 2; }

# One of several calls makes the folder; a folder that was not finished is made anew.
exec 9> "$root.lock"
flock 9
[ -e "$root/finished" ] || "$here/make.sh" "$root" >&2
exec 9>&-

valkey=''
[ "${1:-}" != --valkey ] || { valkey=yes; shift; }
[ $# -gt 0 ] || set -- bash /mersal/versions.sh

changes="$(mktemp -d "$root.changes.XXXXXX")"
trap 'rm -rf "$changes"' EXIT
mkdir "$changes/upper" "$changes/work" "$changes/root"
# Git keeps what belongs to all worktrees elsewhere.
git="$(cd "$repository" && realpath "$(git rev-parse --git-common-dir)")"
export repository root changes git valkey here
unshare --mount --net --pid --fork --kill-child=KILL bash "$here/enter.sh" "$@"
