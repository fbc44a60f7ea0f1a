/**
 * What the database itself saw of the relays: triggers on the outbox, which no code of Mersal knows
 * about.
 */
import type { Pool } from 'pg'

/**
 * Set by the connections of the relays before a settle statement: the token that this settle says
 * it has.
 */
export const SAID = 'witness.said'

/** `S`: name of the schema. */
export const witnessTables = (S: string): string => `
create unlogged table ${S}.witness_change (
  at timestamptz not null, relay text not null, said text, op text not null,
  position bigint not null, old_token uuid, new_token uuid, held_until timestamptz not null
);
create unlogged table ${S}.witness_token (token uuid primary key, relay text not null);
create function ${S}.witness_change() returns trigger language plpgsql as $$
declare
  who text := current_setting('application_name');
  said text := nullif(current_setting('${SAID}', true), '');
begin
  if tg_op = 'DELETE' then
    insert into ${S}.witness_change
    select clock_timestamp(), who, said, 'delete', o.position, o.token, null, o.visible_at from old_rows o;
  else
    insert into ${S}.witness_change
    select clock_timestamp(), who, said, 'update', o.position, o.token, n.token, o.visible_at
    from old_rows o join new_rows n on n.position = o.position;
    insert into ${S}.witness_token
    select distinct n.token, who from new_rows n where n.token is not null on conflict do nothing;
  end if;
  return null;
end $$;
create trigger witness_update after update on ${S}.outbox referencing old table as old_rows new table as new_rows
  for each statement execute function ${S}.witness_change();
create trigger witness_delete after delete on ${S}.outbox referencing old table as old_rows
  for each statement execute function ${S}.witness_change();
`

export interface HeldRow {
  readonly id: string
  readonly position: string
  readonly token: string
}

/** Rows whose claim belongs to this relay. */
export async function heldBy(pool: Pool, S: string, relay: string): Promise<readonly HeldRow[]> {
  const { rows } = await pool.query<HeldRow>(
    `select o.id::text, o.position::text, o.token::text
     from ${S}.witness_token w join ${S}.outbox o on o.token = w.token where w.relay = $1`,
    [relay],
  )
  return rows
}

/**
 * How many of these rows were claimed together with others that the relay has settled: the relay
 * knows that it has them.
 */
export async function known(pool: Pool, S: string, held: readonly HeldRow[]): Promise<number> {
  const { rows } = await pool.query<{ token: string }>(
    `select distinct c.old_token::text as token from ${S}.witness_change c where c.op = 'delete' and c.old_token = any ($1::uuid[])`,
    [[...new Set(held.map(({ token }) => token))]],
  )
  const settling = new Set(rows.map(({ token }) => token))
  return held.filter(({ token }) => settling.has(token)).length
}

/** How many of these rows another relay holds by now. */
export async function takenOver(
  pool: Pool,
  S: string,
  held: readonly HeldRow[],
  relay: string,
): Promise<number> {
  const { rows } = await pool.query<{ n: number }>(
    `select count(*)::int as n from ${S}.outbox o join ${S}.witness_token w on w.token = o.token
     where o.position = any ($1::bigint[]) and w.relay <> $2 and o.visible_at > clock_timestamp()`,
    [held.map(({ position }) => position), relay],
  )
  return rows[0]?.n ?? 0
}

/**
 * Statements that changed a row of another claim than their own. A settle writes no token: it is
 * stale if it said other tokens than the row had, or if another relay had taken that token. A
 * renewal keeps the token of the row: it is stale if another relay had taken it.
 */
export const staleSettles = (S: string): string => `
select count(*)::int as n from ${S}.witness_change c left join ${S}.witness_token w on w.token = c.old_token
where (c.new_token is null and coalesce(strpos(c.said, c.old_token::text), 0) = 0)
  or ((c.new_token is null or c.new_token = c.old_token) and w.relay is distinct from c.relay)`

/** A claim writes a token of its own. A renewal of a claim keeps the one that is there. */
const isClaim = 'c.new_token is not null and c.new_token is distinct from c.old_token'

/** Claims of rows whose former claim had not ended. */
export const earlyClaims = (S: string): string => `
select count(*)::int as n from ${S}.witness_change c where ${isClaim} and c.held_until > c.at`

/** Claims that somebody took over, and from whom. */
export const lostClaims = (S: string): string => `
select c.position::text, c.old_token::text as token from ${S}.witness_change c where ${isClaim} and c.old_token is not null`
