#!/usr/bin/env bash
# Says which servers there are.
psql -At -U postgres -c "select 'PostgreSQL ' || current_setting('server_version')"
mariadb -BN -e "select concat('MariaDB ', version())"
rabbitmqctl -q eval 'io:format("RabbitMQ ~s, Erlang ~s~n", [rabbit_misc:version(), erlang:system_info(otp_release)]).' | awk 'NR == 1'
nats-server --version
redis-server --version
pgbouncer --version | awk 'NR == 1'
