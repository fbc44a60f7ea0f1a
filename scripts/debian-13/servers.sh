#!/usr/bin/env bash
# In the Debian 13: starts the servers that the tests expect to find, and runs the command.
set -euo pipefail
export -n valkey
mkdir -p /run/postgresql /run/mysqld
chown postgres /run/postgresql
chown mysql /run/mysqld

[ -d /etc/postgresql/17/main ] || pg_createcluster 17 main > /dev/null
printf 'local all all trust\nhost all all 127.0.0.1/32 trust\nhost replication all 127.0.0.1/32 trust\n' \
  > /etc/postgresql/17/main/pg_hba.conf
pg_conftool 17 main set port 5432
pg_ctlcluster --skip-systemctl-redirect 17 main start
psql -q -U postgres -c 'create database test'

mariadbd --user=mysql --skip-name-resolve > /var/log/mariadbd.log 2>&1 &
until mariadb -e 'select 1' > /dev/null 2>&1; do sleep 0.2; done
mariadb -e "create user root@'127.0.0.1'; grant all on *.* to root@'127.0.0.1' with grant option"

rabbitmq-server -detached 2> /dev/null
until rabbitmqctl -q await_startup > /dev/null 2>&1; do sleep 0.5; done

if [ -n "$valkey" ]; then
  for tool in server cli sentinel; do ln -sf "/usr/bin/valkey-$tool" "/usr/local/bin/redis-$tool"; done
fi
cd "$repository"
code=0
"$@" || code=$?
exit "$code"
