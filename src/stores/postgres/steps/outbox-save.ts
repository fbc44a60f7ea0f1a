interface Edition {
  readonly create: 'create' | 'create or replace'
  readonly reason: string
  readonly column: string
  readonly value: string
}

type EditionName = 'first' | 'with due times'

/** Of step 2 and of step 11, which have been applied: none of these texts may ever change. */
const editions: Readonly<Record<EditionName, Edition>> = {
  first: { create: 'create', reason: 'for the reason above', column: '', value: '' },
  'with due times': {
    create: 'create or replace',
    reason: 'whose snapshot is younger than the locks',
    column: ', due_at',
    value: `,
    case when m.delay > 0 then clock_timestamp() + m.delay * interval '1 millisecond' end`,
  },
}

export function outboxSave(S: string, edition: EditionName): string {
  const { create, reason, column, value } = editions[edition]
  return `
-- Adds messages: "messages" is a JSON array, "bodies" the bodies one after the other. The keys are
-- locked before positions are drawn, and whether a key has open rows is asked in a later statement,
-- ${reason}. "express": the writer would take it, if nothing else of its key is open.
${create} function ${S}.outbox_save(messages text, bodies bytea, express_token uuid, grace_ms double precision)
returns table (saved_position text, born_claimed boolean, transaction_id text)
language plpgsql volatile set search_path = pg_catalog, pg_temp set enable_seqscan = off as $$
declare
  given json := messages::json;
  allowed boolean := express_token is not null and current_setting('synchronous_commit') in ('on', 'remote_apply');
  fresh boolean := current_setting('transaction_isolation') = 'read committed';
  keys text[] := array(select distinct k.key from json_to_recordset(given) as k(key text) where k.key is not null);
  waiting text[] := '{}';
begin
  if cardinality(keys) > 0 then
    perform ${S}.lock_keys(keys);
    if allowed then
      waiting := array(select k from unnest(keys) k where not fresh or exists (select from ${S}.outbox e where e.key = k));
    end if;
  end if;
  return query
  insert into ${S}.outbox (id, key, visible_at, token, type, transport, kind, name, headers, body${column})
  select m.id, m.key, clock_timestamp() + case when m.born then grace_ms else m.delay end * interval '1 millisecond',
    case when m.born then express_token end, m.type, m.transport, m.kind, m.name, m.headers, substring(bodies from m.start + 1 for m.length)${value}
  from (
    select r.*, coalesce(allowed and r.express and w.key is null, false) as born
    from json_to_recordset(given) as r(n integer, id uuid, key text, delay double precision, express boolean, type text,
      transport text, kind text, name text, headers text, start integer, length integer)
    left join unnest(waiting) as w(key) on w.key = r.key
    order by r.n offset 0
  ) m
  returning outbox.position::text, outbox.token is not null, pg_current_xact_id()::text;
end $$;
`
}
