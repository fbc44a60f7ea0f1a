import { randomBytes } from 'node:crypto'
import { Pool } from 'pg'
import type { ServerProgram } from '../../../scripts/servers/program.ts'
import { privateCluster, type PrivateCluster } from '../../postgres/cluster.ts'
import { earlyClaims, witnessTables } from '../../scenarios/postgres-relays/witness.ts'
import { featureTables, featureTruth } from '../features/tables.ts'
import { now } from '../history.ts'
import type { Adapters, Source } from '../source.ts'
import { type PostgresAddress, topics } from '../plan.ts'
import { openProxy, type Proxy } from '../proxy.ts'
import { type Disk, openDisk } from './disk.ts'
import { discardAll, type Letter } from './letters.ts'
import {
  type Arrival,
  type Committed,
  type Effect,
  type Place,
  type Truth,
  upgrade,
  type Waiting,
  wrongGauges,
} from './place.ts'

export const SCHEMA = 'chaos'
export const SLOT = 'oracle'
/** Name of the connections past the proxy. */
const HARNESS = 'harness'

/** The process of a broker. */
export type BrokerServer = Pick<ServerProgram, 'start' | 'signal' | 'stop'>

/** The broker of a place, as the harness alone sees it: through a plain client. */
export interface BrokerSide extends AsyncDisposable {
  readonly server: BrokerServer
  /** Without the proxy. */
  readonly url: string
  readonly login: { readonly name: string; readonly password: string }
  readonly versions: Readonly<Record<string, string>>
  /** Where it tells its clients to connect; by default one is opened before it. */
  readonly proxy?: Proxy
  /** The queue of the consumers, and the tap. */
  prepare(adapters: Adapters): Promise<void>
  /** The queue of the second workload, where there is one. */
  prepareClerk?(adapters: Adapters): Promise<void>
  /** What the tap holds. */
  arrivals(): Promise<readonly Arrival[]>
  /** Dead letters of the consumers. */
  letters(): Promise<readonly { readonly id: string; readonly text: string }[]>
}

interface Disks {
  readonly data: Disk
  readonly wal: Disk
}

/** PostgreSQL, with some broker. */
export interface ClusterPlace extends Place {
  readonly cluster: PrivateCluster
  readonly databaseProxy: Proxy
  readonly brokerProxy: Proxy
  readonly brokerServer: BrokerServer
  /** Of the database; undefined unless asked for. */
  readonly disks: Disks | undefined
  /** Past the proxy; repeats what fails because the server is coming back. */
  query<Row extends object>(text: string, values?: readonly unknown[]): Promise<Row[]>
  /**
   * What the log has told so far is put aside, so that the server need keep no more of it for the
   * oracle.
   */
  readOracle(): Promise<void>
}

const tables = `
create table ${SCHEMA}.told (n bigint generated always as identity, xid text not null, data text not null);
create table ${SCHEMA}.business (place bigint generated always as identity, id uuid not null, topic text not null, key text, digest text not null);
create table ${SCHEMA}.effects (place bigint generated always as identity, id uuid not null, digest text not null);
`

/** Timeouts of sagas that stay open. */
const notInAnHour = `not (type like 'feature.%' and visible_at > now() + interval '1 hour')`

const settings = {
  wal_level: 'logical',
  max_replication_slots: '4',
  max_wal_senders: '6',
  track_commit_timestamp: 'on',
  max_connections: '80',
  synchronous_commit: 'on',
}

const effectsMissing = `select b.id::text from ${SCHEMA}.business b where b.topic = '${topics.booked}'
  and not exists (select from ${SCHEMA}.effects e where e.id = b.id)`

/** Of this size once everything has been written: the slot of the oracle keeps the whole log. */
const DISK_MIB = 4096

async function openDisks(stack: AsyncDisposableStack): Promise<Disks> {
  return {
    data: stack.use(await openDisk('data', DISK_MIB)),
    wal: stack.use(await openDisk('wal', DISK_MIB)),
  }
}

export interface PlaceOptions {
  /** Its disks can be full. */
  readonly ownDisks: boolean
}

/** `openBroker`: with this password. */
export async function openClusterPlace<Side extends BrokerSide>(
  kind: PostgresAddress['kind'],
  openBroker: (password: string) => Promise<Side>,
  { ownDisks }: PlaceOptions,
): Promise<readonly [ClusterPlace, Side]> {
  const stack = new AsyncDisposableStack()
  try {
    const password = `canary-${randomBytes(8).toString('hex')}`
    const disks = ownDisks ? await openDisks(stack) : undefined
    // Small files of the log, so that a full disk is noticed soon.
    const where =
      disks === undefined
        ? {}
        : { data: disks.data.folder, wal: disks.wal.folder, init: ['--wal-segsize=1'] }
    const cluster = stack.use(
      await privateCluster(
        { ...settings, min_wal_size: disks === undefined ? '80MB' : '2MB' },
        where,
      ),
    )
    const broker = stack.use(await openBroker(`${password}-mq`))
    const databaseProxy = stack.use(await openProxy(cluster.port))
    const brokerProxy = broker.proxy ?? stack.use(await openProxy(Number(new URL(broker.url).port)))
    const pool = new Pool({
      connectionString: cluster.url,
      max: 2,
      application_name: HARNESS,
      connectionTimeoutMillis: 5000,
    })
    pool.on('error', () => {})
    stack.defer(() => pool.end())
    const url = (address: string, port: number, login: string): string => {
      const at = new URL(address)
      return `${at.protocol}//${login}@127.0.0.1:${port}${at.pathname}`
    }
    const place = {
      cluster,
      databaseProxy,
      brokerProxy,
      brokerServer: broker.server,
      disks,
      secrets: [`${password}-db`, broker.login.password],
      query: <Row extends object>(text: string, values: readonly unknown[] = []) =>
        persistently<Row>(pool, text, values),
    }
    const readOracle = async (): Promise<void> => {
      await place.query(
        `insert into ${SCHEMA}.told (xid, data) select xid, data from (${told('get')}) t order by n`,
      )
    }
    const address = {
      kind,
      database: url(cluster.url, databaseProxy.port, `postgres:${password}-db`),
      schema: SCHEMA,
      broker: url(broker.url, brokerProxy.port, `${broker.login.name}:${broker.login.password}`),
    } as const
    const whole: ClusterPlace = {
      ...place,
      readOracle,
      address,
      async prepare(adapters) {
        const { postgres } = adapters
        const own = new Pool({ connectionString: cluster.url })
        await using store = postgres.postgres({ pool: own, schema: SCHEMA })
        await store.open()
        await place.query(tables)
        // Kept through a crash of the server.
        await place.query(witnessTables(SCHEMA).replaceAll('unlogged ', ''))
        await place.query(`select pg_create_logical_replication_slot('${SLOT}', 'test_decoding')`)
        await broker.prepare(adapters)
        stack.defer(() => own.end())
      },
      async migrate({ postgres }) {
        return await onStore(cluster.url, postgres, (store) => upgrade(store.operations?.schema))
      },
      waiting: (wiped) => waiting(place, wiped),
      async heldBy(tokens) {
        const sql = `select count(*)::int as n from ${SCHEMA}.outbox where token = any ($1::uuid[]) and visible_at > clock_timestamp()`
        return (await place.query<{ n: number }>(sql, [tokens]))[0]?.n ?? 0
      },
      discard: (source, ids) =>
        onStore(cluster.url, source.postgres, (store) =>
          discardAll(store.admin.deadLetters, new Set(ids)),
        ),
      truth: (source) => truth({ ...place, broker }, source),
      features: {
        async prepare(adapters) {
          const own = new Pool({ connectionString: cluster.url, max: 2 })
          stack.defer(() => own.end())
          await using store = adapters.postgres.postgres({ pool: own, schema: SCHEMA })
          await store.open()
          await store.sagas?.open()
          await store.once?.open()
          for (const sql of featureTables('postgres', `${SCHEMA}.`)) await place.query(sql)
          await broker.prepareClerk?.(adapters)
        },
        truth: () =>
          featureTruth({
            dialect: 'postgres',
            prefix: `${SCHEMA}.`,
            rows: (sql) => place.query(sql),
          }),
      },
      ...burials(place.query),
      [Symbol.asyncDispose]: () => stack.disposeAsync(),
    }
    return [whole, broker]
  } catch (error) {
    await stack.disposeAsync()
    throw error
  }
}

/**
 * Settlements that changed a row of another claim than their own. A row that was born claimed has
 * no relay in the witness, and what the harness itself does with rows is no settlement.
 */
const staleSettles = `
select count(*)::int as n from ${SCHEMA}.witness_change c left join ${SCHEMA}.witness_token w on w.token = c.old_token
where c.relay <> '${HARNESS}' and ((c.new_token is null and coalesce(strpos(c.said, c.old_token::text), 0) = 0)
  or ((c.new_token is null or c.new_token = c.old_token) and w.relay <> c.relay))`

/** What makes and undoes trouble with dead letters. */
function burials(
  query: ClusterPlace['query'],
): Pick<Place, 'deadOf' | 'letters' | 'makeDue' | 'refuseDead'> {
  const dead = `select id, dead_reason, body from ${SCHEMA}.dead union all select id, dead_reason, body from ${SCHEMA}.outbox where died_at is not null`
  return {
    async deadOf(ids) {
      const rows = await query<{ n: number }>(
        `select count(*)::int as n from (${dead}) d where id = any ($1::uuid[])`,
        [ids],
      )
      return rows[0]?.n ?? 0
    },
    letters: (ids) =>
      query<Letter>(
        `select id::text, dead_reason as reason, octet_length(body) as bytes, encode(sha256(body), 'hex') as digest
         from (${dead}) d where id = any ($1::uuid[])`,
        [ids],
      ),
    async makeDue(ids) {
      await query(
        `update ${SCHEMA}.outbox set visible_at = clock_timestamp() where id = any ($1::uuid[])`,
        [ids],
      )
    },
    async refuseDead(refuses) {
      if (!refuses) {
        await query(`drop trigger if exists no_dead on ${SCHEMA}.dead`)
        await query(`drop trigger if exists no_dead on ${SCHEMA}.outbox`)
        return
      }
      await query(
        `create or replace function ${SCHEMA}.no_dead() returns trigger language plpgsql as $$ begin raise exception 'no dead letters here'; end $$`,
      )
      await query(
        `create trigger no_dead before insert on ${SCHEMA}.dead for each row execute function ${SCHEMA}.no_dead()`,
      )
      await query(
        `create trigger no_dead before update on ${SCHEMA}.outbox for each row when (new.died_at is not null) execute function ${SCHEMA}.no_dead()`,
      )
    },
  }
}

type Servers = Pick<ClusterPlace, 'query' | 'cluster'> & { readonly broker: BrokerSide }

async function persistently<Row extends object>(
  pool: Pool,
  text: string,
  values: readonly unknown[],
): Promise<Row[]> {
  for (let tries = 0; ; tries += 1) {
    try {
      return (await pool.query<Row>(text, [...values])).rows
    } catch (error) {
      // The pool finds out one by one that its connections are dead.
      const { code, severity } = error as { code?: string; severity?: string }
      const gone =
        severity === undefined || severity === 'FATAL' || code?.startsWith('57P') === true
      if (!gone || tries >= 20) throw error
      await new Promise((resolve) => setTimeout(resolve, 250))
    }
  }
}

async function waiting(
  { query }: Pick<ClusterPlace, 'query'>,
  wiped: ReadonlySet<string>,
): Promise<Waiting> {
  const rows = await query<{ outbox: number; missing: string[]; sample: string | null }>(
    `select (select count(*)::int from ${SCHEMA}.outbox where died_at is null and ${notInAnHour}) as outbox, array(${effectsMissing}) as missing,
      (select string_agg(s::text, '; ') from (select position, key, visible_at, token, attempts, type, error from ${SCHEMA}.outbox order by position limit 5) s) as sample`,
  )
  const { outbox = 0, missing = [], sample } = rows[0] ?? {}
  return {
    outbox,
    effects: missing.filter((id) => !wiped.has(id)).length,
    detail: `${sample ?? 'outbox empty'}; without effect: ${missing.slice(0, 5).join(' ')}`,
  }
}

/** A store of this source, straight on the server. */
async function onStore<Result>(
  url: string,
  { postgres }: Source['postgres'],
  work: (store: ReturnType<typeof postgres>) => Promise<Result>,
): Promise<Result> {
  // What the harness does with rows is no settlement.
  const own = new Pool({ connectionString: url, max: 2, application_name: HARNESS })
  own.on('error', () => {})
  try {
    await using store = postgres({ pool: own, schema: SCHEMA, migrate: 'off' })
    return await work(store)
  } finally {
    await own.end()
  }
}

async function truth({ query, broker, cluster }: Servers, source: Source): Promise<Truth> {
  const { committed, torn } = await commits(query)
  const count = async (sql: string): Promise<number> => (await query<{ n: number }>(sql))[0]?.n ?? 0
  const intrusions = [
    ...Array.from(
      { length: await count(earlyClaims(SCHEMA)) },
      () => 'a row was claimed while its claim held',
    ),
    ...Array.from({ length: await count(staleSettles) }, () => 'a former owner changed a row'),
  ]
  const dead = await query<{ id: string; error: string }>(
    `select id::text, error from ${SCHEMA}.dead union all select id::text, coalesce(error, '') from ${SCHEMA}.outbox where died_at is not null`,
  )
  const pending = await count(
    `select count(*)::int as n from ${SCHEMA}.outbox where died_at is null`,
  )
  const gauges = await onStore(cluster.url, source.postgres, (store) =>
    wrongGauges(store, source, { pending, dead: dead.length }),
  )
  const given = await broker.letters()
  await query(`vacuum ${SCHEMA}.outbox`)
  const sizes = await query<{ name: string; bytes: string }>(
    `select relname as name, pg_total_relation_size(oid)::text as bytes from pg_class where relname in ('outbox', 'inbox', 'dead') and relnamespace = '${SCHEMA}'::regnamespace`,
  )
  const [version] = await query<{ server_version: string }>('show server_version')
  return {
    committed,
    torn,
    arrivals: await broker.arrivals(),
    effects: await query<Effect>(`select id::text, digest from ${SCHEMA}.effects order by place`),
    dead: new Set([...dead.map(({ id }) => id), ...given.map(({ id }) => id)]),
    intrusions,
    gauges,
    sizes: Object.fromEntries(sizes.map(({ name, bytes }) => [name, Number(bytes)])),
    versions: {
      PostgreSQL: version?.server_version.split(' ')[0] ?? '?',
      ...broker.versions,
    },
    texts: [...dead.map(({ error }) => error), ...given.map(({ text }) => text)],
  }
}

/**
 * From the log: what was inserted into the tables of the run, and the ends of transactions. Only
 * their beginnings, where the columns are that count: a body may have 80 MiB.
 */
const told = (how: 'peek' | 'get'): string => `
  select row_number() over () as n, xid::text, data
  from (select xid, left(data, 2000) as data
    from pg_logical_slot_${how}_changes('${SLOT}', null, null, 'include-timestamp', 'on', 'skip-empty-xacts', 'on')) whole
  where data ~ '^(table ${SCHEMA}\\.(business|outbox): INSERT|COMMIT )' and data !~ ' type\\[text\\]:''feature\\.'`

/**
 * From the log of the database, by a decoder that is not ours: what was committed, and in which
 * order. What was put aside may be told once more, if the server was killed meanwhile.
 */
async function commits(query: Servers['query']): Promise<Pick<Truth, 'committed' | 'torn'>> {
  const wall = Date.now()
  const offset = now() - wall
  const rows = await query<{
    id: string
    topic: string
    key: string | null
    digest: string
    table: string
    at: string | null
  }>(
    `with all_of_it as (
       select 0 as later, n, xid, data from ${SCHEMA}.told union all select 1, n, xid, data from (${told('peek')}) t
     ), changes as (
       select row_number() over (order by later, n) as n, xid, substring(data from '^table ${SCHEMA}\\.(business|outbox): INSERT') as tab,
         substring(data from '[ ]id\\[uuid\\]:''([0-9a-f-]{36})''') as id,
         substring(data from '^COMMIT .*\\(at ([^)]+)\\)') as at
       from all_of_it
     ), ends as (select distinct on (xid) xid, (extract(epoch from at::timestamptz) * 1000)::text as at from changes where at is not null)
     select c.id, b.topic, b.key, b.digest, c.tab as table, e.at from changes c left join ends e on e.xid = c.xid
     left join ${SCHEMA}.business b on b.id = c.id::uuid where c.tab is not null order by c.n`,
  )
  const tables = (table: string): Map<string, (typeof rows)[number]> =>
    new Map(rows.filter((row) => row.table === table).map((row) => [row.id, row]))
  const [business, outbox] = [tables('business'), tables('outbox')]
  const torn = [...business.keys()]
    .filter((id) => !outbox.has(id))
    .concat([...outbox.keys()].filter((id) => !business.has(id)))
  const committed = [...business.values()].map(
    ({ id, topic, key, digest, at }): Committed => ({
      id,
      topic,
      key: key ?? undefined,
      digest,
      at: at === null ? undefined : Number(at) + offset,
    }),
  )
  // What the log says must still be there.
  const vanished = [...business.values()].filter(({ topic }) => topic === null).map(({ id }) => id)
  return { committed, torn: [...torn, ...vanished] }
}
