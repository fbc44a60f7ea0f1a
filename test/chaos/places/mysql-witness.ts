/**
 * What MariaDB itself saw of the claims: triggers on the outbox, which no code of Mersal knows
 * about. A process logs in under its own name, which `user()` tells also inside a trigger.
 */

const WHO = `substring_index(user(), '@', 1)`
/** What the harness does with rows is neither a claim nor a settlement. */
const HARNESS = 'root'
/** A claim, or a row that is born claimed, writes a token that was not there. */
const taken = 'new.token is not null and not (new.token <=> old.token)'

export const witnessTables: readonly string[] = [
  'create table witness_token (token char(36) primary key, taker varchar(100) not null)',
  `create table witness_change (
    what varchar(20) not null, changer varchar(100) not null, position bigint unsigned not null,
    old_token char(36) null, held_until datetime(6) not null, at datetime(6) not null)`,
  `create trigger witness_insert after insert on mersal_outbox for each row
    insert ignore into witness_token (token, taker)
    select new.token, ${WHO} from dual where new.token is not null`,
  `create trigger witness_claim after update on mersal_outbox for each row
    insert ignore into witness_token (token, taker)
    select new.token, ${WHO} from dual where ${taken}`,
  `create trigger witness_update after update on mersal_outbox for each row
    insert into witness_change
    select if(${taken}, 'claim', 'settle'), ${WHO}, old.position, old.token, old.visible_at, sysdate(6)
    from dual`,
  `create trigger witness_delete after delete on mersal_outbox for each row
    insert into witness_change
    select 'settle', ${WHO}, old.position, old.token, old.visible_at, sysdate(6) from dual`,
]

/** `sysdate` is the time of the server, and not that of the statement; both in UTC. */
const early = `select position from witness_change
  where what = 'claim' and changer <> '${HARNESS}' and held_until > at`

/** A settlement of a row whose token somebody else has taken. */
const stale = `select c.position from witness_change c join witness_token w on w.token = c.old_token
  where c.what = 'settle' and c.changer <> '${HARNESS}' and w.taker <> c.changer`

type Query = <Row extends object>(text: string) => Promise<Row[]>

/** Claims of rows that another claim still held, and settlements by a former owner. */
export async function intrusions(query: Query): Promise<string[]> {
  const of = async (text: string, says: string): Promise<string[]> =>
    (await query<{ position: number }>(text)).map(({ position }) => `${says}: ${position}`)
  return [
    ...(await of(early, 'a row was claimed while its claim held')),
    ...(await of(stale, 'a former owner changed a row')),
  ]
}
