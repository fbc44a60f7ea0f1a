-- one
insert into "mersal".outbox (type, transport, kind, name, id, headers, body, visible_at, due_at) values ($1, $2, $3, $4, $5, $6, $7, clock_timestamp() + $8 * interval '1 millisecond', case when $8 > 0 then clock_timestamp() + $8 * interval '1 millisecond' end);

-- oneKeyed
insert into "mersal".outbox (type, transport, kind, name, id, headers, body, visible_at, due_at, key) values ($1, $2, $3, $4, $5, $6, $7, clock_timestamp() + $8 * interval '1 millisecond', case when $8 > 0 then clock_timestamp() + $8 * interval '1 millisecond' end, $9);

-- oneExpress
insert into "mersal".outbox (type, transport, kind, name, id, headers, body, visible_at, token)
values ($1, $2, $3, $4, $5, $6, $7, case when current_setting('synchronous_commit') in ('on', 'remote_apply') then clock_timestamp() + $8 * interval '1 millisecond' else clock_timestamp() end, case when current_setting('synchronous_commit') in ('on', 'remote_apply') then $9::uuid end)
returning position::text as position, token is not null as born;

-- oneKeyedExpress
insert into "mersal".outbox (type, transport, kind, name, id, headers, body, visible_at, key, token)
select $1, $2, $3, $4, $5, $6, $7, case when e.born then clock_timestamp() + $8 * interval '1 millisecond' else clock_timestamp() end, $9, case when e.born then $10::uuid end
from (select current_setting('synchronous_commit') in ('on', 'remote_apply') and current_setting('transaction_isolation') = 'read committed' and not exists (select from "mersal".outbox o where o.key = $9) as born offset 0) e
returning position::text as position, token is not null as born;

-- same
insert into "mersal".outbox (type, transport, kind, name, id, headers, body, visible_at, key)
select $1, $2, $3, $4, r.id, r.headers, r.body, clock_timestamp(), r.key
from unnest($5::uuid[], $6::text[], $7::bytea[], $8::text[]) as r(id, headers, body, key);

-- sameExpress
insert into "mersal".outbox (type, transport, kind, name, id, headers, body, visible_at, key, token)
select $1, $2, $3, $4, r.id, r.headers, r.body, case when r.born then clock_timestamp() + $9 * interval '1 millisecond' else clock_timestamp() end, r.key, case when r.born then $10::uuid end
from (
  select r.*, e.durable and (r.key is null or (current_setting('transaction_isolation') = 'read committed' and not exists (select from "mersal".outbox o where o.key = r.key))) as born
  from (select current_setting('synchronous_commit') in ('on', 'remote_apply') as durable offset 0) e cross join unnest($5::uuid[], $6::text[], $7::bytea[], $8::text[]) as r(id, headers, body, key) offset 0
) r
returning position::text as position, token is not null as born;

-- many
insert into "mersal".outbox (type, transport, kind, name, id, headers, body, visible_at, due_at, key)
select r.type, r.transport, r.kind, r.name, r.id, r.headers, r.body, clock_timestamp() + r.delay * interval '1 millisecond', case when r.delay > 0 then clock_timestamp() + r.delay * interval '1 millisecond' end, r.key
from unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::uuid[], $6::text[], $7::bytea[], $8::text[], $9::float8[])
  as r(type, transport, kind, name, id, headers, body, key, delay);

-- manyExpress
insert into "mersal".outbox (type, transport, kind, name, id, headers, body, visible_at, due_at, key, token)
select r.type, r.transport, r.kind, r.name, r.id, r.headers, r.body,
  case when r.born then clock_timestamp() + $11 * interval '1 millisecond' else clock_timestamp() + r.delay * interval '1 millisecond' end, case when r.delay > 0 then clock_timestamp() + r.delay * interval '1 millisecond' end, r.key, case when r.born then $12::uuid end
from (
  select r.*, e.durable and r.may and (r.key is null or (current_setting('transaction_isolation') = 'read committed' and not exists (select from "mersal".outbox o where o.key = r.key))) as born
  from (select current_setting('synchronous_commit') in ('on', 'remote_apply') as durable offset 0) e cross join unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::uuid[], $6::text[], $7::bytea[], $8::text[], $9::float8[], $10::boolean[]) as r(type, transport, kind, name, id, headers, body, key, delay, may) offset 0
) r
returning position::text as position, token is not null as born;

-- lock
select pg_catalog.pg_advisory_xact_lock(pg_catalog.hashtext('mersal.mersal'), hashtext($1) & 1023);

-- lockToLook
select pg_catalog.set_config('enable_seqscan', 'off', true), pg_catalog.pg_advisory_xact_lock(pg_catalog.hashtext('mersal.mersal'), hashtext($1) & 1023);

-- locks
select max(pg_catalog.pg_advisory_xact_lock(pg_catalog.hashtext('mersal.mersal'), x.bucket)::text)
from (select distinct hashtext(k) & 1023 as bucket from unnest($1::text[]) k where k is not null order by 1 offset 0) x;

-- locksToLook
select pg_catalog.set_config('enable_seqscan', 'off', true), max(pg_catalog.pg_advisory_xact_lock(pg_catalog.hashtext('mersal.mersal'), x.bucket)::text)
from (select distinct hashtext(k) & 1023 as bucket from unnest($1::text[]) k where k is not null order by 1 offset 0) x;
