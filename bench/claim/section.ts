import { Client, Pool } from 'pg'
import { statements } from '../../src/stores/postgres/statements/statements.ts'
import { postgres } from '../../src/postgres.ts'
import { median } from '../measure.ts'
import type { Table } from '../report.ts'
import { amount, type Effort } from '../effort.ts'

const LIMIT = 500

/**
 * What one claim costs the server, whatever else the tables hold: time and pages read, by EXPLAIN
 * (ANALYZE, BUFFERS).
 */
export async function claim(effort: Effort): Promise<Table[]> {
  const { runs } = effort
  const many = Math.max(LIMIT, amount(effort, 1_000_000, 50_000))
  const churned = amount(effort, 300_000, 30_000)
  const server = await effort.servers.postgres()
  await using stack = new AsyncDisposableStack()
  const pool = stack.adopt(new Pool({ connectionString: server.url }), (opened) => opened.end())
  await pool.query('drop schema if exists bench cascade')
  const store = stack.use(postgres({ pool, schema: 'bench', keepSentMs: 3_600_000 }))
  await store.open()
  await store.outbox.prune({ limit: 1 })
  const client = new Client({ connectionString: server.url })
  await client.connect()
  stack.adopt(client, (opened) => opened.end())
  const reader = await snapshotReader(server.url, stack)
  const figures: Figure[] = []
  const faults: string[] = []
  const look = async (
    name: string,
    options: { readonly from?: number; readonly reach?: number; readonly expected?: number } = {},
  ): Promise<void> => {
    const { from = 0, reach = null, expected = LIMIT } = options
    const figure = { name, ...(await explainClaim(client, { from, reach, times: runs * 2 + 1 })) }
    figures.push(figure)
    if (figure.claimed !== expected)
      faults.push(`${name}: ${figure.claimed} rows claimed, not ${expected}`)
  }

  await look('an empty table', { expected: 0 })
  await insert(client, 'outbox', 1000)
  await look('1,000 due rows')
  await insert(client, 'dead', many)
  await insert(client, 'sent', many)
  await look(`and ${many.toLocaleString('en-US')} dead letters and as many kept rows`)
  await client.query(
    `update bench.outbox set visible_at = 'infinity', died_at = clock_timestamp() where key is not null`,
  )
  await insert(client, 'outbox', 1000, 'blocked')
  await look('1,000 due rows behind 750 dead letters that block their keys')
  await client.query('truncate bench.outbox')
  await insert(client, 'outbox', many)
  await look(`${many.toLocaleString('en-US')} due rows`)
  await client.query('truncate bench.outbox')
  await insert(client, 'outbox', churned)
  await client.query(`delete from bench.outbox where key is null`)
  await client.query(
    `update bench.outbox set visible_at = 'infinity' where position in (select min(position) from bench.outbox group by key)`,
  )
  const waiting = `${((churned * 3) / 4).toLocaleString('en-US')} rows, all of whose keys are in hand`
  await look(`${waiting}: a full scan`, { expected: 0 })
  await look('the same: a look at the first 2,000', { reach: 2000, expected: 0 })
  await client.query('truncate bench.outbox')
  await reader.hold()
  await insert(client, 'outbox', churned)
  const { rows } = await client.query<{ last: string }>(
    'select max(position)::text as last from bench.outbox',
  )
  await client.query('delete from bench.outbox')
  await insert(client, 'outbox', 1000)
  await look(
    `1,000 due rows after ${churned.toLocaleString('en-US')} that came and went under an open snapshot`,
  )
  await look('the same from the last position seen', { from: Number(rows[0]?.last) })
  await reader.release()
  await client.query('vacuum bench.outbox')
  await look('the same after the snapshot ended and a vacuum')
  return [tableFor(figures, faults, server.version)]
}

export interface Figure {
  readonly name: string
  readonly claimed: number
  readonly ms: number
  readonly buffers: number
}

function tableFor(figures: readonly Figure[], faults: readonly string[], version: string): Table {
  const base = figures[1]
  return {
    id: 'claim',
    title: `Claim of up to ${LIMIT} rows, ${version}`,
    head: ['the outbox holds', 'claimed', 'ms', 'shared buffers', 'ms to 1,000 rows'],
    rows: figures.map(({ name, claimed, ms, buffers }) => [
      name,
      String(claimed),
      ms.toFixed(1),
      buffers.toLocaleString('en-US'),
      (ms / (base?.ms ?? Number.NaN)).toFixed(1),
    ]),
    faults,
    data: figures,
  }
}

/** The claim as the relay runs it, its settings included, and taken back each time. Medians. */
export function explainClaim(
  client: Client,
  {
    from,
    reach = null,
    times,
  }: { readonly from: number; readonly reach?: number | null; readonly times: number },
): Promise<Omit<Figure, 'name'>> {
  const token = '00000000-0000-7000-8000-000000000001'
  return explained(
    client,
    {
      text: statements('bench').claim,
      values: [LIMIT, 15_000, token, from, 32 << 20, reach, 64 << 20],
    },
    times,
  )
}

/** What a statement of a relay costs the server. It is taken back each time. Medians. */
export async function explained(
  client: Client,
  { text, values }: { readonly text: string; readonly values: readonly unknown[] },
  times: number,
): Promise<Omit<Figure, 'name'>> {
  const plans: { ms: number; buffers: number; claimed: number }[] = []
  for (let time = 0; time < times; time++) {
    await client.query('begin; set local enable_seqscan = off; set local jit = off')
    const { rows } = await client.query<{ 'QUERY PLAN': Explained[] }>(
      `explain (analyze, buffers, format json) ${text}`,
      [...values],
    )
    await client.query('rollback')
    const [answer] = rows[0]?.['QUERY PLAN'] ?? []
    if (answer === undefined) throw new Error('EXPLAIN gave no plan')
    const { Plan: plan, 'Execution Time': ms } = answer
    plans.push({
      ms,
      buffers: plan['Shared Hit Blocks'] + plan['Shared Read Blocks'],
      claimed: updatedRows(plan),
    })
  }
  return {
    ms: median(plans.map(({ ms }) => ms)),
    buffers: median(plans.map(({ buffers }) => buffers)),
    claimed: Math.min(...plans.map(({ claimed }) => claimed)),
  }
}

interface Plan {
  readonly 'Node Type': string
  readonly 'Shared Hit Blocks': number
  readonly 'Shared Read Blocks': number
  readonly 'Actual Rows': number
  readonly Plans?: readonly Plan[]
}

interface Explained {
  readonly Plan: Plan
  readonly 'Execution Time': number
}

/**
 * Rows that an UPDATE in this plan has returned, or those of the statement if nothing is updated.
 */
function updatedRows(plan: Plan): number {
  return updateOf(plan)?.['Actual Rows'] ?? plan['Actual Rows']
}

function updateOf(plan: Plan): Plan | undefined {
  if (plan['Node Type'] === 'ModifyTable') return plan
  for (const part of plan.Plans ?? []) {
    const update = updateOf(part)
    if (update !== undefined) return update
  }
  return undefined
}

/** Three of four rows have one of 10,000 keys. */
async function insert(
  client: Client,
  table: 'outbox' | 'dead' | 'sent',
  rows: number,
  prefix = 'key',
): Promise<void> {
  const common = `gen_random_uuid(), case when n % 4 = 0 then null else '${prefix} ' || n % 10000 end, 'orders.placed', 'default', 'topic', 'orders.placed', '{}', convert_to(repeat('x', 250), 'UTF8')`
  const into = {
    outbox: `bench.outbox (id, key, type, transport, kind, name, headers, body) select ${common}`,
    dead: `bench.dead (id, key, type, transport, kind, name, headers, body, position, attempts, added_at, error, died_at, dead_reason, maybe_published)
      select ${common}, -n, 10, now(), 'refused', now(), 'refused', false`,
    sent: `bench.sent (id, key, type, transport, kind, name, headers, body, position, added_at, sent_at) select ${common}, -n, now(), now()`,
  }
  await client.query(`insert into ${into[table]} from generate_series(1, ${rows}) n`)
  await client.query(`analyze bench.${table}`)
}

/** Another session that reads once and then stays in its transaction. */
async function snapshotReader(
  url: string,
  stack: AsyncDisposableStack,
): Promise<{ hold(): Promise<void>; release(): Promise<void> }> {
  const other = new Client({ connectionString: url })
  await other.connect()
  stack.adopt(other, (opened) => opened.end())
  return {
    async hold() {
      await other.query('begin isolation level repeatable read')
      await other.query('select count(*) from bench.outbox')
    },
    async release() {
      await other.query('commit')
    },
  }
}
