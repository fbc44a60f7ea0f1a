import { describe, expect, test } from 'vitest'
import { jsonSerializer } from '../../../src/core/messages/serializer.ts'
import { isMersalError } from '../../../src/core/errors/errors.ts'
import { command, event, Mersal } from '../../../src/index.ts'
import { memoryStore, memoryTransport } from '../../../src/memory.ts'
import { LONGEST_DELAY_MS } from '../../../src/core/messages/validation.ts'
import { serverAnswers } from '../../postgres/database.ts'
import { storeHarness } from '../../postgres/store-harness.ts'
import { seededRandom } from '../../../scripts/seeded-random.ts'

const present = await serverAnswers()
const E = event('strict.test')

/**
 * Of every kind that a rule could tell apart: letters that become ASCII in lower case, marks, wide
 * ones.
 */
const special = [
  0xad, 0xdf, 0x130, 0x131, 0x17f, 0x200b, 0x200d, 0x200e, 0x200f, 0x2010, 0x2027, 0x2028, 0x2029,
  0x202a, 0x202e, 0x202f, 0x2065, 0x2066, 0x2069, 0x206a, 0x212a, 0xfeff, 0xfffd, 0x1f393, 0x10ffff,
]
const characters = [...Array.from({ length: 0xa1 }, (_, code) => code), ...special].map((code) =>
  String.fromCodePoint(code),
)

const lengths = [0, 1, 2, 127, 128, 129, 199, 200, 201, 254, 255, 256, 8191, 8192, 8193]
const wide = (length: number): string => 'ö'.repeat(Math.floor(length / 2))

const known =
  'amq. amq.gen-1 AMQ.x amq amqp.x a.amq.b a..b ../a a/b:c-d_e $a {a} %s \\ \\u0001 orders.* ${7*7} __proto__ constructor'.split(
    ' ',
  )

const texts: readonly string[] = [
  ...characters.flatMap((character) => [
    character,
    `a${character}`,
    `${character}a`,
    `a${character}b`,
  ]),
  ...lengths.flatMap((length) => ['a'.repeat(length), wide(length + 1), `${wide(length)}a`]),
  ...known,
  ' a',
  'a\r\nb: c',
  ...random(300),
]

/** Of a few characters each, mostly those that a name may have. */
function random(count: number): string[] {
  const next = seededRandom(28)
  const usual = 'abcXYZ019._:/-amq.'.split('')
  const pick = <Item>(items: readonly Item[]): Item =>
    items[Math.floor(next() * items.length)] as Item
  return Array.from({ length: count }, () =>
    Array.from({ length: 1 + Math.floor(next() * 6) }, () =>
      pick(next() < 0.85 ? usual : characters),
    ).join(''),
  )
}

type Api = (value: never) => unknown

const names = [
  'x-death X-Death x-first-death-queue x-last-death-reason x-first-death x-delivery-count x-acquired-count x-opt-a x-opt x-mersal-attempt',
  'X-MERSAL- x-mersal x-deaths x-other correlation-id causation-id Sent-At content-type Content-Type partition-key sender senders',
  'traceparent tracestate __proto__ constructor',
].flatMap((line) => line.split(' '))
const many = (count: number, value: string): object =>
  Object.fromEntries(Array.from({ length: count }, (_, n) => [`h${n}`, value]))
/** With 8,181 bytes in a header of six letters, all are 49,152 bytes. */
const large = Object.fromEntries(['b', 'c', 'd', 'e', 'f'].map((name) => [name, 'x'.repeat(8192)]))
const otherValues: readonly unknown[] = [1, 0, true, false, null, {}, [], ['x'], { b: 'x' }]
const headers: readonly object[] = [
  { ...large, a12345: 'y'.repeat(8181) },
  { ...large, a12345: 'y'.repeat(8182) },
  {},
  [],
  ['a'],
  { a: 'x', A: 'y' },
  { a: 'x', b: 'y' },
  many(100, 'x'),
  many(101, 'x'),
  ...[...names, ...texts].map((name) => Object.fromEntries([[name, 'x']]) as object),
  ...texts.map((value) => ({ a: value })),
  ...otherValues.map((value) => ({ a: value })),
]

const delays = [
  -LONGEST_DELAY_MS,
  -1000,
  -1,
  -0.01,
  0,
  0.5,
  1,
  1000,
  LONGEST_DELAY_MS - 1,
  LONGEST_DELAY_MS,
  LONGEST_DELAY_MS + 1,
  3e10,
  4e10,
  1e15,
  1e300,
]

async function sends(api: Mersal<unknown>, options: object): Promise<void> {
  await api.transaction((_tx, { publish }) => publish(E, {}, options))
}

/** What is given, how SQL is called with it, and what the API does. */
const fields: readonly {
  readonly name: string
  readonly call: string
  readonly values: readonly unknown[]
  readonly api: (app: Mersal<unknown>) => Api
}[] = [
  {
    name: 'type',
    call: `publish($1::text, '1'::jsonb)`,
    values: texts,
    api: () => (value) => event(value),
  },
  {
    name: 'type of a command',
    call: `send('q', $1::text, '1'::bytea)`,
    values: texts,
    api: () => (value) => command(value),
  },
  {
    name: 'queue',
    call: `send($1::text, 'a.b', '1'::jsonb)`,
    values: texts,
    api: () => (queue) =>
      new Mersal({ name: 'a', transport: memoryTransport(), routes: { t: { queue } } }),
  },
  {
    name: 'partition_key',
    call: `publish('a.b', '1', partition_key => $1::text)`,
    values: texts,
    api: (app) => (partitionKey) => sends(app, { partitionKey }),
  },
  {
    name: 'headers',
    call: `publish('a.b', '1', headers => $1::jsonb)`,
    values: headers,
    api: (app) => (given) => sends(app, { headers: given }),
  },
  {
    name: 'delay',
    call: `publish('a.b', '1', delay => $1::float8 * interval '1 millisecond')`,
    values: delays,
    api: (app) => (delayMs) => sends(app, { delayMs }),
  },
  {
    name: 'content_type',
    call: `publish('a.b', 'x'::bytea, content_type => $1::text)`,
    // Only for a serializer, an empty one says that it reads everything.
    values: [
      ...texts.filter((text) => text !== ''),
      'application/vnd.mersal.bundle',
      'text/plain; charset=utf-8',
      'x'.repeat(9000),
    ],
    api: () => (contentType) =>
      new Mersal({
        name: 'a',
        transport: memoryTransport(),
        serializer: { ...jsonSerializer, contentType },
      }),
  },
]

type Query = (sql: string, values?: unknown[]) => Promise<Record<string, unknown>[]>

/**
 * For each value, null or why SQL refuses it: anything but wrong data, which is class 22, is
 * thrown.
 */
async function sqlRefusals(
  query: Query,
  schema: string,
  call: string,
  values: readonly unknown[],
): Promise<(string | null)[]> {
  await query(`create function ${schema}.judge(given text[]) returns text[] language plpgsql as $judge$
    declare
      answers text[] := '{}';
      value text;
    begin
      foreach value in array given loop
        begin
          execute $call$select ${schema}.${call}$call$ using value;
          answers := answers || null::text;
        exception when data_exception then
          answers := answers || sqlerrm;
        end;
      end loop;
      return answers;
    end $judge$`)
  const texts = values.map((value) => (typeof value === 'string' ? value : JSON.stringify(value)))
  const [row] = await query(`select ${schema}.judge($1::text[]) as answers`, [texts])
  return row?.['answers'] as (string | null)[]
}

async function apiRefusal(attempt: () => unknown): Promise<string | null> {
  try {
    await attempt()
    return null
  } catch (error) {
    if (
      isMersalError(error, 'MERSAL_INVALID_MESSAGE') ||
      isMersalError(error, 'MERSAL_INVALID_OPTIONS')
    )
      return error.message
    throw error
  }
}

/** No text of PostgreSQL has one, nor does any message take it. In JSON it is an escape. */
const sendable = (value: unknown): boolean => typeof value !== 'string' || !value.includes('\0')

describe.skipIf(!present)('the SQL functions are as strict as the API', () => {
  test.each(fields)(
    '$name: both take, and both refuse, the same values',
    { timeout: 240_000 },
    async ({ call, values: all, api }) => {
      await using harness = await storeHarness()
      await using _store = await harness.open()
      const { schema, query } = harness.database
      const app = new Mersal({ name: 'strict', store: memoryStore(), transport: memoryTransport() })
      const judge = api(app as Mersal<unknown>) as (value: unknown) => unknown
      const values = all.filter(sendable)
      const bySql = await sqlRefusals(query, schema, call, values)
      const byApi: (string | null)[] = []
      for (const value of values) byApi.push(await apiRefusal(() => judge(value)))
      expect(bySql).toHaveLength(values.length)
      const differences = values.flatMap((value, index) => {
        const [sql, ours] = [bySql[index] ?? null, byApi[index] ?? null]
        return (sql === null) === (ours === null)
          ? []
          : `${JSON.stringify(value).slice(0, 100)}: SQL: ${sql}; API: ${ours}`
      })
      expect(differences).toEqual([])
      const refused = byApi.filter((answer) => answer !== null).length
      expect(refused).toBeGreaterThan(5)
      expect(values.length - refused).toBeGreaterThan(5)
    },
  )
})
