import { execFile } from 'node:child_process'
import { existsSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { promisify } from 'node:util'
import { describe, expect, test } from 'vitest'
import { serverAnswers, serverUrl } from '../../postgres/database.ts'
import { claim } from '../../postgres/messages.ts'
import { storeHarness } from '../../postgres/store-harness.ts'

const present = await serverAnswers()
const run = promisify(execFile)

function psqlAvailable(): boolean {
  const found = (process.env['PATH'] ?? '')
    .split(':')
    .some((folder) => existsSync(`${folder}/psql`))
  if (found) return true
  if (process.env['CI'] === 'true') throw new Error('NO PSQL in the PATH')
  process.stderr.write(
    '\n*** NO PSQL in the PATH: the SQL contract is tested through the driver only. ***\n',
  )
  return false
}

/** What psql prints, or its error. */
async function psql(sql: string): Promise<string> {
  const child = run('psql', [serverUrl, '-X', '-q', '-A', '-t', '-v', 'ON_ERROR_STOP=1', '-c', sql])
  try {
    return (await child).stdout.trim()
  } catch (error) {
    return (error as { stderr: string }).stderr.trim()
  }
}

const text = new TextDecoder()

describe.skipIf(!present)('the SQL functions for other languages', () => {
  test.skipIf(!psqlAvailable())(
    'the example of docs/sql-contract.md, run by psql, commits the order and its messages',
    async () => {
      await using harness = await storeHarness()
      await using store = await harness.open()
      const { schema, query } = harness.database
      const document = await readFile(
        new URL('../../../docs/sql-contract.md', import.meta.url),
        'utf8',
      )
      const example = /```sql\n-- example\n([\s\S]*?)```/.exec(document)?.[1]
      if (example === undefined) throw new Error('the document has no example')
      await query(`create table ${schema}.orders (id int primary key, customer text not null)`)
      const output = await psql(
        example.replaceAll('mersal.', `${schema}.`).replaceAll('shop.', `${schema}.`),
      )
      expect(output).not.toMatch(/ERROR/)
      expect((await query(`select count(*)::int as n from ${schema}.orders`))[0]).toEqual({ n: 1 })
      const rows = await claim(store)
      expect(rows.map(({ message }) => [message.to, message.type, message.partitionKey])).toEqual([
        [{ transport: 'default', kind: 'topic', name: 'orders.placed' }, 'orders.placed', '42'],
        [{ transport: 'default', kind: 'queue', name: 'billing' }, 'billing.charge', undefined],
      ])
      expect(JSON.parse(text.decode(rows[0]?.message.body))).toEqual({
        orderId: 42,
        customer: 'Zoë',
      })
      expect(rows[0]?.message.headers).toMatchObject({
        'content-type': 'application/json',
        sender: 'sql',
        tenant: 'north',
      })
      expect(rows[0]?.message.headers['correlation-id']).toBe(rows[0]?.message.id)
      expect(rows[0]?.message.id).toMatch(
        /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/,
      )
    },
  )

  test('text stays as it was written, bytes are bytes, and a transaction that rolls back sends nothing', async () => {
    await using harness = await storeHarness()
    await using store = await harness.open()
    const { schema, query } = harness.database
    await query(`select ${schema}.publish('a.b', '{"b":  1, "a": 2}')`)
    await query(
      `select ${schema}.publish('a.b', '\\x00ff'::bytea, content_type => 'application/octet-stream')`,
    )
    await query(
      `select ${schema}.publish('a.b', 'plain', content_type => 'text/plain', id => '018f0000-0000-7000-8000-000000000001')`,
    )
    await store.unitOfWork(async (tx) => {
      await tx.query('savepoint s')
      await tx.query(`select ${schema}.publish('a.b', '1'::jsonb)`)
      await tx.query('rollback to savepoint s')
    })
    const rows = await claim(store)
    expect(rows.map(({ message }) => Buffer.from(message.body).toString('latin1'))).toEqual([
      '{"b":  1, "a": 2}',
      '\x00\xff',
      'plain',
    ])
    expect(rows[2]?.message.id).toBe('018f0000-0000-7000-8000-000000000001')
  })

  test('an interval delays, and a uuid version 7 carries the time', async () => {
    await using harness = await storeHarness()
    await using store = await harness.open()
    const { schema, query } = harness.database
    const before = Date.now()
    const [row] = await query(
      `select ${schema}.send('q', 'a.b', '{}', delay => interval '1 hour') as id`,
    )
    const ms = Number.parseInt(String(row?.['id']).replaceAll('-', '').slice(0, 12), 16)
    expect(Math.abs(ms - before)).toBeLessThan(60_000)
    expect(await claim(store)).toEqual([])
    expect(await store.admin.stats()).toMatchObject({ pending: 1, claimed: 0 })
  })

  test('a role with no more than the rights that are documented may send', async () => {
    await using harness = await storeHarness()
    await using store = await harness.open()
    const { pool, schema } = harness.database
    const role = `${schema}_sender`
    const client = await pool.connect()
    try {
      await client.query(
        `create role ${role}; grant usage on schema ${schema} to ${role}; grant insert, select on ${schema}.outbox to ${role}`,
      )
      await client.query(`set role ${role}`)
      await client.query(
        `select ${schema}.publish('a.b', '{}', partition_key => 'k'), ${schema}.send('q', 'a.b', '{}')`,
      )
      await expect(client.query(`delete from ${schema}.outbox`)).rejects.toMatchObject({
        code: '42501',
      })
    } finally {
      await client.query('reset role')
      await client.query(`drop owned by ${role}; drop role ${role}`)
      client.release()
    }
    expect(await claim(store)).toHaveLength(2)
  })

  test.each([
    ['no type', `publish(null, '{}')`, '22023', /type is not a name/],
    ['a type with blanks', `publish('a b', '{}')`, '22023', /type is not a name/],
    ['a queue with a quote', `send('q''', 'a.b', '{}')`, '22023', /queue is not a name/],
    ['no body', `publish('a.b', null::jsonb)`, '22004', /body is null/],
    ['a text that is no JSON', `publish('a.b', '{')`, '22P02', /json/],
    ['a key that is empty', `publish('a.b', '{}', partition_key => '')`, '22023', /partition_key/],
    [
      'a key that is too long',
      `publish('a.b', '{}', partition_key => repeat('k', 256))`,
      '22023',
      /partition_key/,
    ],
    [
      'a key with a newline',
      `publish('a.b', '{}', partition_key => E'a\\nb')`,
      '22023',
      /partition_key/,
    ],
    [
      'headers that are a list',
      `publish('a.b', '{}', headers => '[]')`,
      '22023',
      /headers must be/,
    ],
    [
      'a header that is a number',
      `publish('a.b', '{}', headers => '{"a": 1}')`,
      '22023',
      /header a must be text/,
    ],
    [
      'a header that is null',
      `publish('a.b', '{}', headers => '{"a": null}')`,
      '22023',
      /header a must be text/,
    ],
    [
      'a header with a newline',
      `publish('a.b', '{}', headers => '{"a": "x\\ny"}')`,
      '22023',
      /header a must be text/,
    ],
    [
      'a header name with a blank',
      `publish('a.b', '{}', headers => '{"a b": "x"}')`,
      '22023',
      /header name/,
    ],
    ['a header twice', `publish('a.b', '{}', headers => '{"a": "x", "A": "y"}')`, '22023', /twice/],
    [
      'a header of mersal',
      `publish('a.b', '{}', headers => '{"Sender": "x"}')`,
      '22023',
      /set by mersal/,
    ],
    ['a negative delay', `publish('a.b', '{}', delay => interval '-1 second')`, '22023', /delay/],
    ['a delay of two years', `publish('a.b', '{}', delay => interval '2 years')`, '22023', /delay/],
    [
      'a content type of null',
      `publish('a.b', 'x', content_type => null)`,
      '22004',
      /content_type/,
    ],
    [
      'a content type with a line break',
      `publish('a.b', 'x', content_type => E'text/plain\\r\\nx: y')`,
      '22023',
      /content_type/,
    ],
    [
      'a content type of 9,000 bytes',
      `publish('a.b', '\\x00'::bytea, content_type => repeat('x', 9000))`,
      '22023',
      /content_type/,
    ],
    ['an empty content type', `send('q', 'a.b', 'x', content_type => '')`, '22023', /content_type/],
    [
      'the content type of bundles',
      `publish('a.b', 'x', content_type => 'application/vnd.mersal.bundle')`,
      '22023',
      /content_type/,
    ],
    [
      'a header of the transports',
      `publish('a.b', '{}', headers => '{"x-mersal-attempt": "1"}')`,
      '22023',
      /header x-mersal-attempt/,
    ],
    [
      'a header of the broker',
      `publish('a.b', '{}', headers => '{"X-Death": "1"}')`,
      '22023',
      /header x-death/,
    ],
    [
      'a header that is large',
      `publish('a.b', '{}', headers => jsonb_build_object('a', repeat('x', 8193)))`,
      '22023',
      /header a /,
    ],
    [
      'headers that are large together',
      `publish('a.b', '{}', headers => (select jsonb_object_agg('h' || n, repeat('x', 8192)) from generate_series(1, 6) n))`,
      '22023',
      /headers: all headers together/,
    ],
    [
      'too many headers',
      `publish('a.b', '{}', headers => (select jsonb_object_agg('h' || n, 'x') from generate_series(1, 101) n))`,
      '22023',
      /at most 100 headers/,
    ],
    [
      'a queue of the broker',
      `send('amq.gen-1', 'a.b', '{}')`,
      '22023',
      /queue begins with 'amq\.'/,
    ],
    [
      'a transport with a blank',
      `publish('a.b', '{}', transport => 'a b')`,
      '22023',
      /transport is not a name/,
    ],
    [
      'a body above the limit',
      `publish('a.b', repeat('x', 250609665)::bytea)`,
      '22023',
      /body has 250609665 bytes, at most 250609664/,
    ],
    [
      'a delay of a year and a second',
      `publish('a.b', '{}', delay => interval '1 year 1 second')`,
      '22023',
      /delay/,
    ],
    [
      'a delay of thirteen months',
      `publish('a.b', '{}', delay => interval '13 months')`,
      '22023',
      /delay/,
    ],
    [
      'a delay of more than 365 days',
      `publish('a.b', '{}', delay => interval '365 days 1 millisecond')`,
      '22023',
      /delay/,
    ],
    [
      'a delay that goes back',
      `publish('a.b', '{}', delay => interval '1 month -40 days')`,
      '22023',
      /delay/,
    ],
    [
      'a delay of more than any date',
      `publish('a.b', '{}', delay => interval '178000000 years')`,
      '22023',
      /delay/,
    ],
    [
      'a delay before any date',
      `publish('a.b', '{}', delay => interval '-2147483648 days')`,
      '22023',
      /delay/,
    ],
    [
      'parts of a delay that are no dates',
      `publish('a.b', '{}', delay => interval '290000 years -105850000 days')`,
      '22023',
      /delay/,
    ],
    ['an id that is no uuid', `publish('a.b', '{}', id => 'one')`, '22P02', /uuid/],
  ])('%s gets a clear SQL error', async (_name, call, code, text) => {
    await using harness = await storeHarness()
    await using store = await harness.open()
    const failed = harness.database.query(`select ${harness.database.schema}.${call}`)
    const ours = code !== '22P02'
    await expect(failed).rejects.toMatchObject({
      code,
      message: expect.stringMatching(text),
      ...(ours ? { hint: expect.stringMatching(/\.$/) } : {}),
    })
    if (ours)
      await expect(failed).rejects.toMatchObject({ message: expect.stringMatching(/^mersal: /) })
    expect(await claim(store)).toEqual([])
  })

  test('a delay may be a year, or months, which count the days that they have', async () => {
    await using harness = await storeHarness()
    await using _store = await harness.open()
    const { schema, query } = harness.database
    const delays = [
      '1 year',
      '12 months',
      '11 months 15 days',
      '1 month',
      '365 days',
      '8760 hours',
      '-1 day +24:00:00',
      '0',
    ]
    for (const delay of delays)
      await query(`select ${schema}.publish('a.b', '{}', delay => $1::interval)`, [delay])
    // Of an instant between the call and the row, at most the second before it.
    const rows = await query(
      `select o.visible_at at time zone 'UTC' - (o.added_at at time zone 'UTC' + g.delay) between interval '-1 second' and '1 second' as right
      from ${schema}.outbox o join unnest($1::interval[]) with ordinality g(delay, n) on g.n = o.position order by position`,
      [delays],
    )
    expect(rows.map((row) => row['right'])).toEqual(delays.map(() => true))
  })

  test('a session that reads backslashes in its own way gets the same answers', async () => {
    await using harness = await storeHarness()
    await using _store = await harness.open()
    const { pool, schema } = harness.database
    const client = await pool.connect()
    try {
      await client.query('set standard_conforming_strings = off; set escape_string_warning = off')
      await client.query(
        `select ${schema}.publish('a.b', '{}', partition_key => 'u0001', headers => '{"a": "u0001"}')`,
      )
      const failed = client.query(`select ${schema}.publish('a.b', '{}', partition_key => $1)`, [
        'a\u0001',
      ])
      await expect(failed).rejects.toMatchObject({
        code: '22023',
        message: expect.stringMatching(/partition_key/),
      })
    } finally {
      client.release(true)
    }
  })

  test('a role that may execute the functions that were there before needs no right on a new one', async () => {
    await using harness = await storeHarness()
    await using store = await harness.open()
    const { pool, schema, query } = harness.database
    const role = `${schema}_narrow`
    const functions = [
      'publish',
      'send',
      'add_message',
      'check_name',
      'check_key',
      'check_headers',
      'uuidv7',
      'outbox_save',
      'lock_keys',
    ]
    const all = await query(
      `select p.oid::regprocedure::text as name, p.proname::text as short from pg_proc p where p.pronamespace = $1::regnamespace`,
      [schema],
    )
    const client = await pool.connect()
    try {
      await client.query(
        `create role ${role}; revoke execute on all functions in schema ${schema} from public`,
      )
      for (const { name, short } of all) {
        if (functions.includes(String(short)))
          await client.query(`grant execute on function ${String(name)} to ${role}`)
      }
      await client.query(
        `grant usage on schema ${schema} to ${role}; grant insert, select on ${schema}.outbox to ${role}; set role ${role}`,
      )
      await client.query(
        `select ${schema}.publish('a.b', '{}', partition_key => 'k', headers => '{"a": "b"}', delay => '1 second'), ${schema}.send('q', 'a.b', '{}')`,
      )
      await expect(
        client.query(`select ${schema}.send('amq.q', 'a.b', '{}')`),
      ).rejects.toMatchObject({ code: '22023' })
    } finally {
      await client.query('reset role')
      await client.query(`drop owned by ${role}; drop role ${role}`)
      client.release()
    }
    expect(await store.admin.stats()).toMatchObject({ pending: 2 })
  })
})
