#!/usr/bin/env bash
# Makes the root folder of a Debian 13 with the servers of the tests. Called by run.sh.
set -euo pipefail
root="$1"
suite=trixie
packages=(
  postgresql-17 mariadb-server mariadb-client rabbitmq-server nats-server redis-server valkey-server
  pgbouncer faketime libstdc++6 iproute2 procps git openssl util-linux locales
)
rm -rf "$root"
mkdir -p "$root"
work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT

# The tool is taken out of its package. The mirror is the one that this machine uses.
(cd "$work" && apt-get update -qq && apt-get download -qq debootstrap && dpkg -x debootstrap_*.deb .)
mirror="$(apt-get indextargets --format '$(CODENAME) $(REPO_URI)' 'Created-By: Packages' |
  awk '$1 !~ /security|updates/ && $2 ~ /debian\/$/ { print $2; exit }')"
[ -n "$mirror" ] || { echo 'no mirror of Debian is configured in apt'; exit 1; }
echo "making a Debian 13 in $root"
DEBOOTSTRAP_DIR="$work/usr/share/debootstrap" "$work/usr/sbin/debootstrap" --variant=minbase \
  "$suite" "$root" "$mirror" > "$root.log"

cp /etc/resolv.conf "$root/etc/resolv.conf"
printf '#!/bin/sh\nexit 101\n' > "$root/usr/sbin/policy-rc.d" # no server starts by itself
chmod +x "$root/usr/sbin/policy-rc.d"
printf '127.0.0.1 localhost %s\n' "$(hostname)" > "$root/etc/hosts"
unshare --mount --fork bash -euc '
  mount -t proc proc "$1/proc"
  mount --rbind /dev "$1/dev"
  root="$1"
  shift
  chroot "$root" env DEBIAN_FRONTEND=noninteractive apt-get update -qq
  chroot "$root" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@"
' make "$root" "${packages[@]}" >> "$root.log" 2>&1 || { tail -20 "$root.log"; exit 1; }
rm -rf "$root"/var/cache/apt/*
touch "$root/finished"
