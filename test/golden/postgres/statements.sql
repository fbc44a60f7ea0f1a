-- saveOne
insert into "mersal".outbox (id, visible_at, token, type, transport, kind, name, headers, body, due_at)
select $1::uuid, clock_timestamp() + case when e.born then $3::float8 else $4::float8 end * interval '1 millisecond',
  case when e.born then $2::uuid end, $5::text, $6::text, $7::text, $8::text, $9::text, $10::bytea, case when $4::float8 > 0 then clock_timestamp() + $4::float8 * interval '1 millisecond' end
from (select case when $2::uuid is null or $4::float8 <> 0 then false else current_setting('synchronous_commit') in ('on', 'remote_apply') end as born offset 0) e
returning position::text as position, token is not null as born, pg_catalog.pg_current_xact_id()::text as xact;

-- saveOneKeyed
insert into "mersal".outbox (id, key, visible_at, token, type, transport, kind, name, headers, body, due_at)
select $1::uuid, $11::text, clock_timestamp() + case when e.born then $3::float8 else $4::float8 end * interval '1 millisecond',
  case when e.born then $2::uuid end, $5::text, $6::text, $7::text, $8::text, $9::text, $10::bytea, case when $4::float8 > 0 then clock_timestamp() + $4::float8 * interval '1 millisecond' end
from (
  select not k.open and $2::uuid is not null and $4::float8 = 0 and current_setting('transaction_isolation') = 'read committed' and current_setting('synchronous_commit') in ('on', 'remote_apply') as born
  from (select "mersal".key_open($11::text) as open offset 0) k
) e
returning position::text as position, token is not null as born, pg_catalog.pg_current_xact_id()::text as xact;

-- saveMany
insert into "mersal".outbox (id, visible_at, token, type, transport, kind, name, headers, body, due_at)
select r.id, clock_timestamp() + case when e.born and r.express then $3::float8 else r.delay end * interval '1 millisecond', case when e.born and r.express then $2::uuid end,
  r.type, r.transport, r.kind, r.name, r.headers, substring($13::bytea from r.start for r.length), case when r.delay > 0 then clock_timestamp() + r.delay * interval '1 millisecond' end
from (select case when $2::uuid is null then false else current_setting('synchronous_commit') in ('on', 'remote_apply') end as born offset 0) e
cross join unnest($1::text::uuid[], $4::text::float8[], $5::text::boolean[], $6::text::text[], $7::text::text[], $8::text::text[], $9::text::text[], $10::text::text[], $11::text::integer[], $12::text::integer[]) as r(id, delay, express, type, transport, kind, name, headers, start, length)
returning position::text as position, token is not null as born, pg_catalog.pg_current_xact_id()::text as xact;

-- saveManyKeyed
with locked as materialized (
  select "mersal".lock_keys($15::text::text[])::text as done
),
lane as materialized (
  select case when $2::uuid is null then false else current_setting('synchronous_commit') in ('on', 'remote_apply') end as durable, current_setting('transaction_isolation') = 'read committed' as fresh,
    array(
      select k from unnest($15::text::text[]) k
      where l.done is not null and case when $2::uuid is null then false else "mersal".key_open(k) end
    ) as waiting
  from locked l
)
insert into "mersal".outbox (id, key, visible_at, token, type, transport, kind, name, headers, body, due_at)
select r.id, r.key, clock_timestamp() + case when r.born then $3::float8 else r.delay end * interval '1 millisecond', case when r.born then $2::uuid end,
  r.type, r.transport, r.kind, r.name, r.headers, substring($13::bytea from r.start for r.length), case when r.delay > 0 then clock_timestamp() + r.delay * interval '1 millisecond' end
from (
  select r.*, e.durable and r.express and (r.key is null or (e.fresh and r.key <> all (e.waiting))) as born
  from lane e cross join unnest($1::text::uuid[], $4::text::float8[], $5::text::boolean[], $6::text::text[], $7::text::text[], $8::text::text[], $9::text::text[], $10::text::text[], $11::text::integer[], $12::text::integer[], $14::text::text[]) as r(id, delay, express, type, transport, kind, name, headers, start, length, key) offset 0
) r
returning position::text as position, token is not null as born, pg_catalog.pg_current_xact_id()::text as xact;

-- mark
select case
    when $2::text <> '' and strpos(coalesce(pg_catalog.current_setting('mersal.within', true), ''), $2::text) > 0 then $2::text
    when pg_catalog.set_config('mersal.within', left($1::text || coalesce(pg_catalog.current_setting('mersal.within', true), ''), 600), true) is not null then $1::text end as mark;

-- provenOne
with ours as materialized (select case
    when $11::text is null then true
    when strpos(coalesce(pg_catalog.current_setting('mersal.within', true), ''), $11::text) > 0 then true
    when $12::boolean then false
    else pg_catalog.set_config('mersal.within', left($11::text || coalesce(pg_catalog.current_setting('mersal.within', true), ''), 600), true) is not null and pg_catalog.pg_current_xact_id_if_assigned() is not null end as proven)
insert into "mersal".outbox (id, visible_at, token, type, transport, kind, name, headers, body, due_at)
select $1::uuid, clock_timestamp() + case when e.born then $3::float8 else $4::float8 end * interval '1 millisecond',
  case when e.born then $2::uuid end, $5::text, $6::text, $7::text, $8::text, $9::text, $10::bytea, case when $4::float8 > 0 then clock_timestamp() + $4::float8 * interval '1 millisecond' end
from (select case when $2::uuid is null or $4::float8 <> 0 then false else current_setting('synchronous_commit') in ('on', 'remote_apply') end as born from ours where proven offset 0) e
returning position::text as position, token is not null as born, pg_catalog.pg_current_xact_id()::text as xact;

-- provenOneKeyed
with ours as materialized (select case
    when $12::text is null then true
    when strpos(coalesce(pg_catalog.current_setting('mersal.within', true), ''), $12::text) > 0 then true
    when $13::boolean then false
    else pg_catalog.set_config('mersal.within', left($12::text || coalesce(pg_catalog.current_setting('mersal.within', true), ''), 600), true) is not null and pg_catalog.pg_current_xact_id_if_assigned() is not null end as proven)
insert into "mersal".outbox (id, key, visible_at, token, type, transport, kind, name, headers, body, due_at)
select $1::uuid, $11::text, clock_timestamp() + case when e.born then $3::float8 else $4::float8 end * interval '1 millisecond',
  case when e.born then $2::uuid end, $5::text, $6::text, $7::text, $8::text, $9::text, $10::bytea, case when $4::float8 > 0 then clock_timestamp() + $4::float8 * interval '1 millisecond' end
from (
  select not k.open and $2::uuid is not null and $4::float8 = 0 and current_setting('transaction_isolation') = 'read committed' and current_setting('synchronous_commit') in ('on', 'remote_apply') as born
  from (select "mersal".key_open($11::text) as open from ours where proven offset 0) k
) e
returning position::text as position, token is not null as born, pg_catalog.pg_current_xact_id()::text as xact;

-- provenMany
with ours as materialized (select case
    when $14::text is null then true
    when strpos(coalesce(pg_catalog.current_setting('mersal.within', true), ''), $14::text) > 0 then true
    when $15::boolean then false
    else pg_catalog.set_config('mersal.within', left($14::text || coalesce(pg_catalog.current_setting('mersal.within', true), ''), 600), true) is not null and pg_catalog.pg_current_xact_id_if_assigned() is not null end as proven)
insert into "mersal".outbox (id, visible_at, token, type, transport, kind, name, headers, body, due_at)
select r.id, clock_timestamp() + case when e.born and r.express then $3::float8 else r.delay end * interval '1 millisecond', case when e.born and r.express then $2::uuid end,
  r.type, r.transport, r.kind, r.name, r.headers, substring($13::bytea from r.start for r.length), case when r.delay > 0 then clock_timestamp() + r.delay * interval '1 millisecond' end
from (select case when $2::uuid is null then false else current_setting('synchronous_commit') in ('on', 'remote_apply') end as born from ours where proven offset 0) e
cross join unnest($1::text::uuid[], $4::text::float8[], $5::text::boolean[], $6::text::text[], $7::text::text[], $8::text::text[], $9::text::text[], $10::text::text[], $11::text::integer[], $12::text::integer[]) as r(id, delay, express, type, transport, kind, name, headers, start, length)
returning position::text as position, token is not null as born, pg_catalog.pg_current_xact_id()::text as xact;

-- provenManyKeyed
with ours as materialized (select case
    when $16::text is null then true
    when strpos(coalesce(pg_catalog.current_setting('mersal.within', true), ''), $16::text) > 0 then true
    when $17::boolean then false
    else pg_catalog.set_config('mersal.within', left($16::text || coalesce(pg_catalog.current_setting('mersal.within', true), ''), 600), true) is not null and pg_catalog.pg_current_xact_id_if_assigned() is not null end as proven), locked as materialized (
  select "mersal".lock_keys($15::text::text[])::text as done from ours where proven
),
lane as materialized (
  select case when $2::uuid is null then false else current_setting('synchronous_commit') in ('on', 'remote_apply') end as durable, current_setting('transaction_isolation') = 'read committed' as fresh,
    array(
      select k from unnest($15::text::text[]) k
      where l.done is not null and case when $2::uuid is null then false else "mersal".key_open(k) end
    ) as waiting
  from locked l
)
insert into "mersal".outbox (id, key, visible_at, token, type, transport, kind, name, headers, body, due_at)
select r.id, r.key, clock_timestamp() + case when r.born then $3::float8 else r.delay end * interval '1 millisecond', case when r.born then $2::uuid end,
  r.type, r.transport, r.kind, r.name, r.headers, substring($13::bytea from r.start for r.length), case when r.delay > 0 then clock_timestamp() + r.delay * interval '1 millisecond' end
from (
  select r.*, e.durable and r.express and (r.key is null or (e.fresh and r.key <> all (e.waiting))) as born
  from lane e cross join unnest($1::text::uuid[], $4::text::float8[], $5::text::boolean[], $6::text::text[], $7::text::text[], $8::text::text[], $9::text::text[], $10::text::text[], $11::text::integer[], $12::text::integer[], $14::text::text[]) as r(id, delay, express, type, transport, kind, name, headers, start, length, key) offset 0
) r
returning position::text as position, token is not null as born, pg_catalog.pg_current_xact_id()::text as xact;

-- claim
with e as materialized (
  select n.next, case when n.next is not null then (select l.position from "mersal".outbox l order by l.position desc limit 1) end as last
  from (select (
    select f.position from "mersal".outbox f
    where $6::integer is not null and f.position >= $4::bigint
    order by f.position offset $6::integer limit 1
  ) as next offset 0) n
),
c as materialized (
  select o.position, o.key, (octet_length(o.body)::bigint + octet_length(o.headers) + octet_length(o.type) + octet_length(o.transport) + octet_length(o.name)) as bytes, o.key is null or o.position = h.position as first
  from "mersal".outbox o
  left join lateral (
    select h.position, h.visible_at
    from "mersal".outbox h where h.key is not null and h.key >= o.key order by h.key, h.position limit 1
  ) h on true
  where case when current_setting('synchronous_commit') = 'on' and current_setting('transaction_isolation') = 'read committed' then true
    else ('synchronous_commit = ' || current_setting('synchronous_commit'))::boolean end
    and o.position >= $4::bigint
    and o.position < coalesce((select e.next from e), 9223372036854775807)
    and o.visible_at <= statement_timestamp()
    
    and (o.key is null or (h.visible_at <= statement_timestamp()))
  order by o.position limit $1::integer
  for update of o skip locked
),
g as materialized (
  select k.key, e.position as gap
  from (select key, max(position) as last from c where not first group by key) k
  cross join lateral (
    select e.position from "mersal".outbox e
    where e.key is not null and (e.key, e.position) >= (k.key, (-9223372036854775808)::bigint) and (e.key, e.position) < (k.key, k.last) and e.position not in (select position from c)
    order by e.key, e.position limit 1
  ) e
),
sized as materialized (select c.position, c.key, case when c.bytes > $7::bigint then 0 else c.bytes end as bytes from c),
fits as materialized (
  select s.position, s.key, sum(s.bytes) over (order by s.position) - s.bytes as before from sized s
),
t as (
  update "mersal".outbox o
  set visible_at = statement_timestamp() + $2::float8 * interval '1 millisecond',
    token = $3::uuid,
    attempts = least(greatest(o.attempts, 0), 1000000) + 1
  where o.position = any (array(
    select f.position from fits f left join g on g.key = f.key
    where (g.gap is null or f.position < g.gap) and f.before < $5::bigint
  ))
  returning o.position, o.id, o.key, o.attempts, o.type, o.transport, o.kind, o.name, o.headers, o.body, (octet_length(o.body)::bigint + octet_length(o.headers) + octet_length(o.type) + octet_length(o.transport) + octet_length(o.name)) as bytes
)
select e.next::text, e.last::text, t.position::text, t.id, t.key as partition_key, t.attempts, case when t.bytes > $7::bigint then left(t.type, 200) else t.type end as type, case when t.bytes > $7::bigint then left(t.transport, 200) else t.transport end as transport, t.kind, case when t.bytes > $7::bigint then left(t.name, 200) else t.name end as name,
  case when t.bytes > $7::bigint then '{}' else t.headers end as headers, case when t.bytes > $7::bigint then ''::bytea else t.body end as body,
  case when t.bytes > $7::bigint then t.bytes end::text as withheld_bytes from e left join t on true;

-- claimExcept
with e as materialized (
  select n.next, case when n.next is not null then (select l.position from "mersal".outbox l order by l.position desc limit 1) end as last
  from (select (
    select f.position from "mersal".outbox f
    where $6::integer is not null and f.position >= $4::bigint
    order by f.position offset $6::integer limit 1
  ) as next offset 0) n
),
c as materialized (
  select o.position, o.key, (octet_length(o.body)::bigint + octet_length(o.headers) + octet_length(o.type) + octet_length(o.transport) + octet_length(o.name)) as bytes, o.key is null or o.position = h.position as first
  from "mersal".outbox o
  left join lateral (
    select h.position, h.visible_at, h.transport || '/' || h.kind || '/' || h.name = any ($8::text[]) as closed
    from "mersal".outbox h where h.key is not null and h.key >= o.key order by h.key, h.position limit 1
  ) h on true
  where case when current_setting('synchronous_commit') = 'on' and current_setting('transaction_isolation') = 'read committed' then true
    else ('synchronous_commit = ' || current_setting('synchronous_commit'))::boolean end
    and o.position >= $4::bigint
    and o.position < coalesce((select e.next from e), 9223372036854775807)
    and o.visible_at <= statement_timestamp()
    and not o.transport || '/' || o.kind || '/' || o.name = any ($8::text[]) and (o.key is null or o.key <> all ($9::text[]))
    and (o.key is null or (h.visible_at <= statement_timestamp() and not h.closed))
  order by o.position limit $1::integer
  for update of o skip locked
),
g as materialized (
  select k.key, e.position as gap
  from (select key, max(position) as last from c where not first group by key) k
  cross join lateral (
    select e.position from "mersal".outbox e
    where e.key is not null and (e.key, e.position) >= (k.key, (-9223372036854775808)::bigint) and (e.key, e.position) < (k.key, k.last) and e.position not in (select position from c)
    order by e.key, e.position limit 1
  ) e
),
sized as materialized (select c.position, c.key, case when c.bytes > $7::bigint then 0 else c.bytes end as bytes from c),
fits as materialized (
  select s.position, s.key, sum(s.bytes) over (order by s.position) - s.bytes as before from sized s
),
t as (
  update "mersal".outbox o
  set visible_at = statement_timestamp() + $2::float8 * interval '1 millisecond',
    token = $3::uuid,
    attempts = least(greatest(o.attempts, 0), 1000000) + 1
  where o.position = any (array(
    select f.position from fits f left join g on g.key = f.key
    where (g.gap is null or f.position < g.gap) and f.before < $5::bigint
  ))
  returning o.position, o.id, o.key, o.attempts, o.type, o.transport, o.kind, o.name, o.headers, o.body, (octet_length(o.body)::bigint + octet_length(o.headers) + octet_length(o.type) + octet_length(o.transport) + octet_length(o.name)) as bytes
)
select e.next::text, e.last::text, t.position::text, t.id, t.key as partition_key, t.attempts, case when t.bytes > $7::bigint then left(t.type, 200) else t.type end as type, case when t.bytes > $7::bigint then left(t.transport, 200) else t.transport end as transport, t.kind, case when t.bytes > $7::bigint then left(t.name, 200) else t.name end as name,
  case when t.bytes > $7::bigint then '{}' else t.headers end as headers, case when t.bytes > $7::bigint then ''::bytea else t.body end as body,
  case when t.bytes > $7::bigint then t.bytes end::text as withheld_bytes from e left join t on true;

-- claimKeys
with e as materialized (
  select n.next, case when n.next is not null then (select l.position from "mersal".outbox l order by l.position desc limit 1) end as last
  from (select (
    select f.position from "mersal".outbox f
    where $6::integer is not null and f.position >= $4::bigint
    order by f.position offset $6::integer limit 1
  ) as next offset 0) n
),
c as materialized (
  select o.position, o.key, (octet_length(o.body)::bigint + octet_length(o.headers) + octet_length(o.type) + octet_length(o.transport) + octet_length(o.name)) as bytes, o.key is null or o.position = h.position as first
  from "mersal".outbox o
  left join lateral (
    select h.position, h.visible_at, h.transport || '/' || h.kind || '/' || h.name = any ($8::text[]) as closed
    from "mersal".outbox h where h.key is not null and h.key >= o.key order by h.key, h.position limit 1
  ) h on true
  where case when current_setting('synchronous_commit') = 'on' and current_setting('transaction_isolation') = 'read committed' then true
    else ('synchronous_commit = ' || current_setting('synchronous_commit'))::boolean end
    and o.position = any (array(select p.position from unnest($10::text[]) as k(key) cross join lateral (
      select q.visible_at from "mersal".outbox q where q.key is not null and (q.key, q.position) >= (k.key, (-9223372036854775808)::bigint) and (q.key, q.position) <= (k.key, 9223372036854775807) order by q.key, q.position limit 1
    ) b cross join lateral (
      select q.position from "mersal".outbox q where q.key is not null and (q.key, q.position) >= (k.key, (-9223372036854775808)::bigint) and (q.key, q.position) <= (k.key, 9223372036854775807) order by q.key, q.position
      limit least($1::integer, 1 + 2 * $1::integer / cardinality($10::text[]))
    ) p where b.visible_at <= statement_timestamp() offset 0))
    and o.position >= $4::bigint
    and o.position < coalesce((select e.next from e), 9223372036854775807)
    and o.visible_at <= statement_timestamp()
    and not o.transport || '/' || o.kind || '/' || o.name = any ($8::text[]) and (o.key is null or o.key <> all ($9::text[]))
    and (o.key is null or (h.visible_at <= statement_timestamp() and not h.closed))
  order by o.position limit $1::integer
  for update of o skip locked
),
g as materialized (
  select k.key, e.position as gap
  from (select key, max(position) as last from c where not first group by key) k
  cross join lateral (
    select e.position from "mersal".outbox e
    where e.key is not null and (e.key, e.position) >= (k.key, (-9223372036854775808)::bigint) and (e.key, e.position) < (k.key, k.last) and e.position not in (select position from c)
    order by e.key, e.position limit 1
  ) e
),
sized as materialized (select c.position, c.key, case when c.bytes > $7::bigint then 0 else c.bytes end as bytes from c),
fits as materialized (
  select s.position, s.key, sum(s.bytes) over (order by s.position) - s.bytes as before from sized s
),
t as (
  update "mersal".outbox o
  set visible_at = statement_timestamp() + $2::float8 * interval '1 millisecond',
    token = $3::uuid,
    attempts = least(greatest(o.attempts, 0), 1000000) + 1
  where o.position = any (array(
    select f.position from fits f left join g on g.key = f.key
    where (g.gap is null or f.position < g.gap) and f.before < $5::bigint
  ))
  returning o.position, o.id, o.key, o.attempts, o.type, o.transport, o.kind, o.name, o.headers, o.body, (octet_length(o.body)::bigint + octet_length(o.headers) + octet_length(o.type) + octet_length(o.transport) + octet_length(o.name)) as bytes
)
select e.next::text, e.last::text, t.position::text, t.id, t.key as partition_key, t.attempts, case when t.bytes > $7::bigint then left(t.type, 200) else t.type end as type, case when t.bytes > $7::bigint then left(t.transport, 200) else t.transport end as transport, t.kind, case when t.bytes > $7::bigint then left(t.name, 200) else t.name end as name,
  case when t.bytes > $7::bigint then '{}' else t.headers end as headers, case when t.bytes > $7::bigint then ''::bytea else t.body end as body,
  case when t.bytes > $7::bigint then t.bytes end::text as withheld_bytes from e left join t on true;

-- claimRows
with e as materialized (
  select n.next, case when n.next is not null then (select l.position from "mersal".outbox l order by l.position desc limit 1) end as last
  from (select (
    select f.position from "mersal".outbox f
    where $6::integer is not null and f.position >= $4::bigint
    order by f.position offset $6::integer limit 1
  ) as next offset 0) n
),
c as materialized (
  select o.position, o.key, (octet_length(o.body)::bigint + octet_length(o.headers) + octet_length(o.type) + octet_length(o.transport) + octet_length(o.name)) as bytes, o.key is null or o.position = h.position as first
  from "mersal".outbox o
  left join lateral (
    select h.position, h.visible_at, h.transport || '/' || h.kind || '/' || h.name = any ($8::text[]) as closed
    from "mersal".outbox h where h.key is not null and h.key >= o.key order by h.key, h.position limit 1
  ) h on true
  where case when current_setting('synchronous_commit') = 'on' and current_setting('transaction_isolation') = 'read committed' then true
    else ('synchronous_commit = ' || current_setting('synchronous_commit'))::boolean end
    and o.position = any ($10::bigint[])
    and o.position >= $4::bigint
    and o.position < coalesce((select e.next from e), 9223372036854775807)
    and o.visible_at <= statement_timestamp()
    and not o.transport || '/' || o.kind || '/' || o.name = any ($8::text[]) and (o.key is null or o.key <> all ($9::text[]))
    and (o.key is null or (h.visible_at <= statement_timestamp() and not h.closed))
  order by o.position limit $1::integer
  for update of o skip locked
),
g as materialized (
  select k.key, e.position as gap
  from (select key, max(position) as last from c where not first group by key) k
  cross join lateral (
    select e.position from "mersal".outbox e
    where e.key is not null and (e.key, e.position) >= (k.key, (-9223372036854775808)::bigint) and (e.key, e.position) < (k.key, k.last) and e.position not in (select position from c)
    order by e.key, e.position limit 1
  ) e
),
sized as materialized (select c.position, c.key, case when c.bytes > $7::bigint then 0 else c.bytes end as bytes from c),
fits as materialized (
  select s.position, s.key, sum(s.bytes) over (order by s.position) - s.bytes as before from sized s
),
t as (
  update "mersal".outbox o
  set visible_at = statement_timestamp() + $2::float8 * interval '1 millisecond',
    token = $3::uuid,
    attempts = least(greatest(o.attempts, 0), 1000000) + 1
  where o.position = any (array(
    select f.position from fits f left join g on g.key = f.key
    where (g.gap is null or f.position < g.gap) and f.before < $5::bigint
  ))
  returning o.position, o.id, o.key, o.attempts, o.type, o.transport, o.kind, o.name, o.headers, o.body, (octet_length(o.body)::bigint + octet_length(o.headers) + octet_length(o.type) + octet_length(o.transport) + octet_length(o.name)) as bytes
)
select e.next::text, e.last::text, t.position::text, t.id, t.key as partition_key, t.attempts, case when t.bytes > $7::bigint then left(t.type, 200) else t.type end as type, case when t.bytes > $7::bigint then left(t.transport, 200) else t.transport end as transport, t.kind, case when t.bytes > $7::bigint then left(t.name, 200) else t.name end as name,
  case when t.bytes > $7::bigint then '{}' else t.headers end as headers, case when t.bytes > $7::bigint then ''::bytea else t.body end as body,
  case when t.bytes > $7::bigint then t.bytes end::text as withheld_bytes from e left join t on true;

-- upcoming
select o.position::text, (extract(epoch from o.due_at - statement_timestamp()) * 1000)::float8::text as in_ms
from "mersal".outbox o where o.due_at > statement_timestamp() order by o.due_at limit $1::integer;

-- cancel
with ours as materialized (select case
    when $2::text is null then true
    when strpos(coalesce(pg_catalog.current_setting('mersal.within', true), ''), $2::text) > 0 then true
    when $3::boolean then false
    else pg_catalog.set_config('mersal.within', left($2::text || coalesce(pg_catalog.current_setting('mersal.within', true), ''), 600), true) is not null and pg_catalog.pg_current_xact_id_if_assigned() is not null end as proven),
gone as (
  delete from "mersal".outbox o using ours
  where ours.proven and o.id = $1::text::uuid and o.due_at is not null
    and o.attempts = 0 and o.token is null and o.error is null and o.died_at is null
  returning 1
)
select case
    when (select count(*) from "mersal".outbox o where o.id = $1::text::uuid and o.due_at is not null) > (select count(*) from gone) then 'gone'
    when exists (select from gone) then 'cancelled'
    else 'unknown' end as answer,
  case when exists (select from gone) then pg_catalog.pg_current_xact_id()::text end as xact
from ours where proven;

-- sent
delete from "mersal".outbox where position = any ($1::bigint[]) and token = $2::uuid;

-- sentKept
with gone as (
  delete from "mersal".outbox o where o.position = any ($1::bigint[]) and o.token = $2::uuid
  returning o.position, o.id, o.key, o.type, o.transport, o.kind, o.name, o.headers, o.body, o.added_at
)
insert into "mersal".sent select g.*, clock_timestamp() from gone g;

-- sentMany
delete from "mersal".outbox o using unnest($1::bigint[], $2::uuid[]) as u(position, token)
where o.position = u.position and o.token = u.token;

-- sentManyKept
with gone as (
  
delete from "mersal".outbox o using unnest($1::bigint[], $2::uuid[]) as u(position, token)
where o.position = u.position and o.token = u.token
  returning o.position, o.id, o.key, o.type, o.transport, o.kind, o.name, o.headers, o.body, o.added_at
)
insert into "mersal".sent select g.*, clock_timestamp() from gone g;

-- attempted
select o.position::text, o.attempts, o.history, (extract(epoch from clock_timestamp()) * 1000)::float8::text as now
from "mersal".outbox o where o.position = any ($1::bigint[]) and o.token = $2::uuid;

-- retry
update "mersal".outbox o
set visible_at = clock_timestamp() + u.delay * interval '1 millisecond', token = null, error = u.error, history = u.noted
from unnest($1::bigint[], $3::float8[], $4::text[], $5::text[]) as u(position, delay, error, noted)
where o.position = u.position and o.token = $2::uuid;

-- release
update "mersal".outbox o
set visible_at = clock_timestamp() + u.delay * interval '1 millisecond', token = null, attempts = greatest(o.attempts - 1, 0),
  error = coalesce(u.error, o.error, '')
from unnest($1::bigint[], $3::float8[], $4::text[]) as u(position, delay, error)
where o.position = u.position and o.token = $2::uuid;

-- renew
update "mersal".outbox o set visible_at = clock_timestamp() + $3::float8 * interval '1 millisecond'
from unnest($1::bigint[], $2::uuid[]) as u(position, token)
where o.position = u.position and o.token = u.token;

-- deadMove
with given as (
  select * from unnest($1::bigint[], $3::text[], $4::text[], $5::boolean[], $6::boolean[], $7::text[]) as u(position, reason, error, maybe, skip, noted)
),
gone as (
  delete from "mersal".outbox o using given u
  where o.position = u.position and o.token = $2::uuid and (u.skip or o.key is null) and (octet_length(o.body)::bigint + octet_length(o.headers) + octet_length(o.type) + octet_length(o.transport) + octet_length(o.name)) <= 16777216
  returning o.*, u.reason, u.error as last_error, u.maybe, u.noted
)
insert into "mersal".dead (position, id, key, attempts, type, transport, kind, name, headers, body, added_at, error, died_at, dead_reason, maybe_published, history)
select g.position, g.id, g.key, g.attempts, g.type, g.transport, g.kind, g.name, g.headers, g.body, g.added_at, g.last_error, clock_timestamp(), g.reason, g.maybe, g.noted from gone g;

-- deadBlock
update "mersal".outbox o
set key = case when u.skip then null else o.key end, dead_key = case when u.skip then o.key end,
  visible_at = 'infinity', due_at = null, token = null, error = u.error, died_at = clock_timestamp(), dead_reason = u.reason, maybe_published = u.maybe, history = u.noted
from unnest($1::bigint[], $3::text[], $4::text[], $5::boolean[], $6::boolean[], $7::text[]) as u(position, reason, error, maybe, skip, noted)
where o.position = u.position and o.token = $2::uuid
  and ((not u.skip and o.key is not null) or (octet_length(o.body)::bigint + octet_length(o.headers) + octet_length(o.type) + octet_length(o.transport) + octet_length(o.name)) > 16777216);

-- partitions
select "mersal".sent_partitions();

-- dropPartitions
select "mersal".sent_drop($1::float8)::text as dropped;

-- pruneSent
delete from "mersal".sent s
using (select e.tableoid, e.ctid from "mersal".sent e where e.sent_at < clock_timestamp() - $1::float8 * interval '1 millisecond' limit $2::integer) old
where s.tableoid = old.tableoid and s.ctid = old.ctid;

-- track
insert into "mersal".inbox (consumer, message_id) values ($1::text, $2::text) on conflict do nothing returning pg_current_xact_id()::text as xact;

-- trackMany
with given as materialized (select id, n from unnest($2::text::text[]) with ordinality u(id, n)),
recorded as (
  insert into "mersal".inbox (consumer, message_id) select $1::text, id from given order by id on conflict do nothing
  returning message_id
)
select n::text, pg_current_xact_id()::text as xact from given join recorded on message_id = id;

-- forget
delete from "mersal".inbox where consumer = $1::text and message_id = any ($2::text::text[]) and xmin = $3::text::xid8::xid;

-- pruneInbox
delete from "mersal".inbox i
using (select e.consumer, e.message_id from "mersal".inbox e
  where e.handled_at < clock_timestamp() - $1::float8 * interval '1 millisecond' order by e.handled_at limit $2::integer) old
where i.consumer = old.consumer and i.message_id = old.message_id;

-- deadList
select p.position || case when p.letter < 0 then '' else '.' || p.letter end as key, p.id, p.key as partition_key, p.attempts, case when p.bytes > 67108864 then left(p.type, 200) else p.type end as type, case when p.bytes > 67108864 then left(p.transport, 200) else p.transport end as transport, p.kind, case when p.bytes > 67108864 then left(p.name, 200) else p.name end as name,
  case when p.bytes > 67108864 then '{}' else p.headers end as headers, case when p.bytes > 67108864 then ''::bytea else p.body end as body,
  case when p.bytes > 67108864 then p.bytes end::text as withheld_bytes,
  p.error, p.dead_reason as reason, p.maybe_published, p.history, p.blocks, p.died_ms::float8::text as died_at
from (
  select q.*, sum(case when q.bytes > 67108864 then 0 else q.bytes end) over (order by q.position, q.letter) - q.bytes as before
  from (
    (select d.position, d.id, d.key as key, d.attempts, d.type, d.transport, d.kind, d.name, d.headers, d.body, coalesce(d.error, '') as error, d.dead_reason, d.maybe_published, d.history, false as blocks,
    (octet_length(d.body)::bigint + octet_length(d.headers) + octet_length(d.type) + octet_length(d.transport) + octet_length(d.name)) as bytes, case when isfinite(d.died_at) then extract(epoch from d.died_at) * 1000 else 0 end as died_ms, d.letter from "mersal".dead d
      where (d.position, d.letter) > ($2::bigint, $3::integer) order by d.position, d.letter limit $1::integer)
    union all
    (select o.position, o.id, coalesce(o.key, o.dead_key) as key, o.attempts, o.type, o.transport, o.kind, o.name, o.headers, o.body, coalesce(o.error, '') as error, o.dead_reason, o.maybe_published, o.history, o.key is not null as blocks,
    (octet_length(o.body)::bigint + octet_length(o.headers) + octet_length(o.type) + octet_length(o.transport) + octet_length(o.name)) as bytes, case when isfinite(o.died_at) then extract(epoch from o.died_at) * 1000 else 0 end as died_ms, -1
      from "mersal".outbox o where o.died_at is not null and o.position > $2::bigint order by o.position limit $1::integer)
  ) q
  order by q.position, q.letter limit $1::integer
) p
where p.before < 33554432
order by p.position, p.letter;

-- deadRetry
select "mersal".dead_retry($1::bigint[], $2::integer[], $3::bigint[])::text as retried;

-- deadDiscard
delete from "mersal".dead d using unnest($1::bigint[], $2::integer[]) as u(position, letter)
where d.position = u.position and d.letter = u.letter;

-- deadDiscardBlocking
delete from "mersal".outbox where position = any ($1::bigint[]) and died_at is not null;

-- stats
select
  count(*) filter (where o.died_at is null)::text as pending,
  count(*) filter (where o.died_at is null and o.token is not null and o.visible_at > statement_timestamp())::text as claimed,
  ((select count(*) from "mersal".dead) + count(*) filter (where o.died_at is not null))::text as dead,
  coalesce(extract(epoch from statement_timestamp() - min(o.visible_at) filter (
    where o.died_at is null and o.visible_at <= statement_timestamp() and isfinite(o.visible_at))) * 1000, 0)::float8::text as oldest_due_ms
from "mersal".outbox o;
