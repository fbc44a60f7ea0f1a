import { randomUUID } from 'node:crypto'
import { setTimeout as pause } from 'node:timers/promises'
import { command, type Envelope, Mersal } from '../../src/index.ts'
import type { Result, Verdict } from './input.ts'
import { listLetters } from './listing.ts'
import { logger, openPlace, type Place } from './places.ts'
import { checkPrototypes } from './soundness.ts'

/** How a damaged row ends. `forbidden`: the database itself does not take the damage. */
type End = 'handled' | 'outgoing' | 'incoming' | 'waits' | 'skipped' | 'forbidden'

interface Tampering {
  readonly name: string
  /** What is set in the row, as SQL of each database; undefined: does not apply there. */
  readonly postgres?: string
  readonly sqlite?: string
  readonly ends: End
}

const outbox: readonly Tampering[] = [
  { name: 'no id', postgres: 'id = null', sqlite: 'id = null', ends: 'forbidden' },
  { name: 'an empty id', sqlite: "id = ''", ends: 'outgoing' },
  { name: 'attempts -5', postgres: 'attempts = -5', sqlite: 'attempts = -5', ends: 'handled' },
  {
    name: 'attempts beyond counting',
    postgres: 'attempts = 2147483647',
    sqlite: 'attempts = 9223372036854775807',
    ends: 'outgoing',
  },
  { name: 'an unknown kind', sqlite: "kind = 'stream'", ends: 'forbidden' },
  // A check of the table would cost every insert too much.
  { name: 'an unknown kind', postgres: "kind = 'stream'", ends: 'outgoing' },
  {
    name: 'headers that are no JSON',
    postgres: "headers = '{not'",
    sqlite: "headers = '{not'",
    ends: 'outgoing',
  },
  {
    name: 'headers that are a list',
    postgres: "headers = '[1]'",
    sqlite: "headers = '[1]'",
    ends: 'outgoing',
  },
  {
    name: 'headers with numbers',
    postgres: `headers = '{"a":1}'`,
    sqlite: `headers = '{"a":1}'`,
    ends: 'outgoing',
  },
  {
    name: 'a body of another type',
    postgres: "body = '\\xff00'",
    sqlite: "body = x'ff00'",
    ends: 'incoming',
  },
  { name: 'a body that is text', sqlite: "body = 'text'", ends: 'forbidden' },
  {
    name: 'a token nobody has',
    postgres: 'token = gen_random_uuid()',
    sqlite: "token = 'x'",
    ends: 'handled',
  },
  {
    name: 'due in the year 9999',
    postgres: "visible_at = '9999-12-31'",
    sqlite: 'visible_at = 253402214400000',
    ends: 'waits',
  },
  {
    name: 'due since ever',
    postgres: "visible_at = '-infinity'",
    sqlite: 'visible_at = -9007199254740991',
    ends: 'handled',
  },
  {
    name: 'due in no time at all',
    postgres: "visible_at = 'infinity'",
    sqlite: 'visible_at = 9223372036854775807',
    ends: 'waits',
  },
  {
    name: 'a transport that nobody has',
    postgres: "transport = 'nowhere'",
    sqlite: "transport = 'nowhere'",
    ends: 'waits',
  },
  {
    name: 'a queue that nobody declared',
    postgres: "name = 'nobody'",
    sqlite: "name = 'nobody'",
    ends: 'outgoing',
  },
  {
    name: 'no type',
    postgres: "type = ''",
    sqlite: "type = ''",
    ends: 'outgoing',
  },
  {
    name: 'a type of control characters',
    postgres: "type = E'\\x1b[2J\\r\\n'",
    sqlite: "type = char(27) || '[2J' || char(13)",
    ends: 'outgoing',
  },
  {
    name: 'a type of 100,000 characters',
    postgres: "type = repeat('x', 100000)",
    sqlite: 'type = hex(zeroblob(50000))',
    ends: 'outgoing',
  },
  { name: 'an inbox row of the same id', postgres: '', sqlite: '', ends: 'skipped' },
]

/** Rows of the queue: what a consumer finds. */
const queue: readonly Tampering[] = [
  {
    name: 'headers that are no JSON',
    postgres: "headers = '{not'",
    sqlite: "headers = '{not'",
    ends: 'incoming',
  },
  {
    name: 'headers that are a list',
    postgres: "headers = '[]'",
    sqlite: "headers = '[]'",
    ends: 'incoming',
  },
  { name: 'attempts -5', postgres: 'attempts = -5', sqlite: 'attempts = -5', ends: 'handled' },
  {
    name: 'attempts beyond counting',
    postgres: 'attempts = 2147483647',
    sqlite: 'attempts = 9223372036854775807',
    ends: 'incoming',
  },
  { name: 'no type', postgres: "type = ''", sqlite: "type = ''", ends: 'incoming' },
  { name: 'an empty id', postgres: "id = ''", sqlite: "id = ''", ends: 'incoming' },
  {
    name: 'a token nobody has',
    postgres: 'token = gen_random_uuid()',
    sqlite: "token = 'x'",
    ends: 'handled',
  },
  {
    name: 'a body of another type',
    postgres: "body = '\\xff'",
    sqlite: "body = x'ff'",
    ends: 'incoming',
  },
]

const Work = command<{ readonly n: number }>('tampered.work')
const APP = 'tampered'

/** One message that is damaged, and one behind it that is not. */
interface Pair {
  readonly tampering: Tampering
  readonly damaged: string
  readonly mate: string
  readonly label: string
  forbidden: boolean
}

function messageOf(id: string, label: string) {
  const to = { transport: 'default', kind: 'queue', name: APP } as const
  return {
    id,
    type: Work.name,
    headers: { label, 'content-type': 'application/json' },
    body: Buffer.from(JSON.stringify({ label })),
    to,
  }
}

function applicable(place: Place, all: readonly Tampering[]): Pair[] {
  const dialect = place.adapter === 'sqlite' ? 'sqlite' : 'postgres'
  return all
    .filter((tampering) => tampering[dialect] !== undefined)
    .map((tampering) => ({
      tampering,
      damaged: randomUUID(),
      mate: randomUUID(),
      label: randomUUID(),
      forbidden: false,
    }))
}

/** Damages rows of outbox and queue, and lets an app find them. */
export async function tamperEverywhere(adapter: 'sqlite' | 'postgres'): Promise<Result[]> {
  return [
    ...(await tamperIn(adapter, 'outbox', outbox)),
    ...(await tamperIn(adapter, 'queue', queue)),
  ]
}

async function tamperIn(
  adapter: 'sqlite' | 'postgres',
  table: 'outbox' | 'queue',
  all: readonly Tampering[],
): Promise<Result[]> {
  await using place = await openPlace(adapter)
  const { store, transport } = place
  const pairs = applicable(place, all)
  await store.open()
  await transport.subscribe(APP, [])
  for (const { damaged, mate, label } of pairs) {
    const messages = [messageOf(damaged, label), messageOf(mate, 'sound')]
    if (table === 'outbox') await store.unitOfWork((tx) => store.outbox.save(tx, messages))
    else await Promise.all(transport.publish(messages))
  }
  const name =
    table === 'outbox'
      ? `${place.tables.store}outbox`
      : `${place.tables.queue}${adapter === 'sqlite' ? 'queue_messages' : 'message'}`
  for (const pair of pairs) await damage(place, name, pair)
  const handled = new Set<string>()
  const app = new Mersal<unknown>({
    name: APP,
    store,
    transport,
    outbox: {
      relay: {
        maxAttempts: 2,
        onDead: 'skip',
        pollIntervalMs: 50,
        retry: { firstMs: 1, longestMs: 2 },
        claimMs: 1000,
      },
    },
    receive: { maxDeliveries: 2, immediateRetries: 0 },
    logger,
  })
  app.handle(
    Work,
    (_, { message }: { readonly message: Envelope }) =>
      void handled.add(
        message.headers['label'] === 'sound' ? message.id : (message.headers['label'] ?? ''),
      ),
  )
  await app.start()
  const ends = await settled(place, pairs, handled)
  await app.stop()
  return pairs.map((pair) => ({
    generator: 'G10',
    adapter,
    input: `${table}: ${pair.tampering.name}`,
    ...judge(pair, ends),
  }))
}

async function damage(place: Place, table: string, pair: Pair): Promise<void> {
  const dialect = place.adapter === 'sqlite' ? 'sqlite' : 'postgres'
  const change = pair.tampering[dialect]!
  try {
    if (change === '') await place.tamper!(inboxRow(place, dialect), APP, pair.damaged)
    else
      await place.tamper!(
        `update ${table} set ${change} where id = ${dialect === 'sqlite' ? '?' : '$1'}`,
        pair.damaged,
      )
  } catch {
    pair.forbidden = true
  }
}

function inboxRow({ tables }: Place, dialect: 'sqlite' | 'postgres'): string {
  return dialect === 'sqlite'
    ? `insert into mersal_inbox (consumer, message_id, handled_at) values (?, ?, ${Date.now()})`
    : `insert into ${tables.store}inbox (consumer, message_id) values ($1, $2)`
}

interface Ends {
  readonly handled: ReadonlySet<string>
  readonly outgoing: ReadonlySet<string>
  readonly incoming: ReadonlySet<string>
}

/** Looks until everything has come to rest, or nothing has changed for a while. */
async function settled(
  place: Place,
  pairs: readonly Pair[],
  handled: ReadonlySet<string>,
): Promise<Ends> {
  const due = pairs.filter(
    ({ tampering, forbidden }) => forbidden || !['waits', 'skipped'].includes(tampering.ends),
  )
  for (let look = 0; ; look++) {
    const outgoing = await listLetters(place, undefined, new Set())
    const incoming = await listLetters(place, APP, new Set())
    const texts = (letters: typeof outgoing): Set<string> =>
      new Set(letters.flatMap(({ id, headers }) => [id, headers['label'] ?? '']))
    const ends = { handled, outgoing: texts(outgoing), incoming: texts(incoming) }
    const found = (id: string): boolean =>
      handled.has(id) || ends.outgoing.has(id) || ends.incoming.has(id)
    const open = [
      ...pairs.map(({ mate }) => mate).filter((id) => !handled.has(id)),
      ...due.filter(({ damaged, label }) => !found(damaged) && !found(label)),
    ]
    if (open.length === 0 || look === 100) return ends
    await pause(100)
  }
}

function judge(
  { tampering, damaged, mate, label, forbidden }: Pair,
  ends: Ends,
): { verdict: Verdict } | { verdict: 'failed'; why: string } {
  checkPrototypes()
  const expected = tampering.ends
  const where = (id: string): End =>
    ends.handled.has(id)
      ? 'handled'
      : ends.outgoing.has(id)
        ? 'outgoing'
        : ends.incoming.has(id)
          ? 'incoming'
          : 'waits'
  const found = where(label) === 'waits' ? where(damaged) : where(label)
  if (where(mate) !== 'handled')
    return { verdict: 'failed', why: `the message behind it: ${where(mate)}` }
  if (forbidden || expected === 'forbidden') {
    if (!forbidden || expected !== 'forbidden')
      return { verdict: 'failed', why: `forbidden: ${String(forbidden)}` }
    return found === 'handled'
      ? { verdict: 'refused' }
      : { verdict: 'failed', why: `the row was ${found}` }
  }
  const as = expected === 'skipped' ? 'waits' : expected
  if (found !== as) return { verdict: 'failed', why: `expected ${expected}, but it is ${found}` }
  return { verdict: expected === 'handled' || expected === 'skipped' ? 'round trip' : 'refused' }
}
