interface Edition {
  readonly create: 'create' | 'create or replace'
  readonly more: string
}

/** Of step 7 and of step 14, which have been applied: none of these texts may ever change. */
const editions: Readonly<Record<'first' | 'with history', Edition>> = {
  first: { create: 'create', more: '' },
  'with history': { create: 'create or replace', more: ', history = null' },
}

export function deadRetry(S: string, edition: keyof typeof editions): string {
  const { create, more } = editions[edition]
  return `
-- Puts dead letters back, in the order of their positions. "places" names those that stayed in the outbox: those
-- that hold back their key go on in their place; the others, and moved ones, behind everything else of their key.
${create} function ${S}.dead_retry(positions bigint[], letters integer[], places bigint[]) returns bigint
language plpgsql volatile set search_path = pg_catalog, pg_temp set enable_seqscan = off as $$
declare
  given record;
  place bigint;
  retried bigint := 0;
begin
  perform ${S}.lock_keys(array(
    select d.key from ${S}.dead d join unnest(positions, letters) as u(position, letter) on d.position = u.position and d.letter = u.letter
    union all select o.dead_key from ${S}.outbox o where o.position = any (places) and o.died_at is not null));
  for given in
    select u.position, u.letter from unnest(positions, letters) as u(position, letter)
    union all select p, -1 from unnest(places) as p
    order by 1, 2
  loop
    if given.letter >= 0 then
      with gone as (delete from ${S}.dead d where d.position = given.position and d.letter = given.letter returning d.*)
      insert into ${S}.outbox (id, key, type, transport, kind, name, headers, body, added_at)
      select g.id, g.key, g.type, g.transport, g.kind, g.name, g.headers, g.body, g.added_at from gone g;
    else
      update ${S}.outbox o set position = default, key = o.dead_key, dead_key = null
      where o.position = given.position and o.died_at is not null and o.dead_key is not null returning o.position into place;
      update ${S}.outbox o
      set visible_at = clock_timestamp(), token = null, attempts = 0, error = null, died_at = null, dead_reason = null, maybe_published = false${more}
      where o.position = coalesce(place, given.position) and o.died_at is not null;
    end if;
    retried := retried + case when found then 1 else 0 end;
  end loop;
  return retried;
end $$;
`
}
