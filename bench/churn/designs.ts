import type { Client } from 'pg'
import { fillOutbox, fillPlain } from '../backlog.ts'
import { explainClaim, explained } from '../claim/section.ts'
import { bodySql, thousandKeys } from '../messages.ts'
import type { RelayJob, RelayKind } from '../relays/job.ts'
import { takeAndDelete } from '../relays/floors.ts'

export interface Poll {
  readonly ms: number
  /** Pages that were read. */
  readonly buffers: number
}

/** How a table holds messages that wait, as far as its growth depends on it. */
export interface Design {
  readonly name: string
  readonly table: string
  readonly relay: RelayKind
  readonly store?: RelayJob['store']
  /**
   * Empties the table, and returns the statement of a writer: it inserts every $3rd number from $1
   * to $2.
   */
  prepare(client: Client): Promise<string>
  /** The statement that wakes the relay after a commit, if it does not look all the time. */
  readonly wake?: string
  /** What looking for rows costs the server; the median of so many times. */
  poll(client: Client, times: number): Promise<Poll>
}

const numbers = 'generate_series($1::integer, $2::integer, $3::integer) n'

/** A table with default settings; one statement takes rows and deletes them. */
export const plainDelete: Design = {
  name: 'plain table, rows deleted',
  table: 'bench.plain',
  relay: 'floor delete',
  async prepare(client) {
    await fillPlain(client, 0)
    return `insert into bench.plain (body) select convert_to(${bodySql}, 'UTF8') from ${numbers} order by n`
  },
  poll: (client, times) => explained(client, { text: takeAndDelete, values: [] }, times),
}

export const mersalOutbox: Design = {
  name: 'Mersal',
  table: 'bench.outbox',
  wake: `select pg_notify('bench_outbox', '')`,
  relay: 'mersal',
  async prepare(client) {
    await fillOutbox(client, 1, { queue: 'bench', keys: thousandKeys })
    const { rows } = await client.query<{ columns: string }>(`
      delete from bench.outbox
      returning concat_ws(', ', quote_literal(type), quote_literal(transport), quote_literal(kind), quote_literal(name),
        'replace(' || quote_literal(headers) || ', ' || quote_literal(key) || ', ' || quote_literal('key ') || ' || n % 1000)') as columns`)
    await client.query('vacuum analyze bench.outbox')
    return `insert into bench.outbox (id, key, type, transport, kind, name, headers, body)
      select gen_random_uuid(), ${thousandKeys.sql}, ${rows[0]?.columns}, convert_to(${bodySql}, 'UTF8') from ${numbers} order by n`
  },
  poll: (client, times) => explainClaim(client, { from: 0, times }),
}
