#!/usr/bin/env bash
# Inside namespaces of its own: puts the root folder together, and goes into it. Called by run.sh.
set -euo pipefail
mount --make-rprivate /
new="$changes/root"
mount -t overlay overlay -o "lowerdir=$root,upperdir=$changes/upper,workdir=$changes/work" "$new"
mount -t proc proc "$new/proc"
mount --rbind /dev "$new/dev"
mount --rbind /sys "$new/sys"
home="${HOME:-/root}"
for folder in "$repository" "$git" "$home/.cache" "$here:/mersal"; do
  from="${folder%%:*}" to="${folder##*:}"
  mkdir -p "$from" "$new$to"
  mount --bind "$from" "$new$to"
done
ip link set lo up
exec chroot "$new" env -i HOME="$home" TERM="${TERM:-dumb}" LANG=C.UTF-8 CI="${CI:-}" \
  PATH="$repository/node_modules/.bin:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin" \
  MERSAL_TEST_POSTGRES_BIN=/usr/lib/postgresql/17/bin \
  repository="$repository" valkey="$valkey" bash /mersal/servers.sh "$@"
