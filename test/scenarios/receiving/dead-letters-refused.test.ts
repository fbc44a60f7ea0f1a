import { mkdtempSync, rmSync } from 'node:fs'
import { randomBytes } from 'node:crypto'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { describe, expect, test } from 'vitest'
import { type DeadLetterBox, Mersal, type Transport, command } from '../../../src/index.ts'
import { postgresQueue } from '../../../src/postgres.ts'
import { rabbitmq } from '../../../src/rabbitmq.ts'
import { sqliteQueue } from '../../../src/sqlite.ts'
import { serverAnswers, testDatabase } from '../../postgres/database.ts'
import { openVhost, rabbitIsHere } from '../../rabbitmq/broker.ts'
import { plainClient } from '../../rabbitmq/plain-client.ts'

const postgresHere = await serverAnswers()
const rabbitHere = await rabbitIsHere()
const Work = command<{ id: number }>('test.work')
const POISON = 12

function recorder() {
  const lines: { level: string; fields: Readonly<Record<string, unknown>>; text: string }[] = []
  const at = (level: string) => (fields: Readonly<Record<string, unknown>>, text: string) =>
    void lines.push({ level, fields, text })
  const of = (level: string) => lines.filter((line) => line.level === level)
  return { logger: { debug: () => {}, info: () => {}, warn: at('warn'), error: at('error') }, of }
}

const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms))

async function until(what: string, holds: () => boolean | Promise<boolean>): Promise<void> {
  const deadline = performance.now() + 30_000
  while (!(await holds())) {
    if (performance.now() > deadline) throw new Error(`${what} did not happen in time`)
    await pause(20)
  }
}

/**
 * A shop with less concurrency than poison: what is held up by one dead letter would hold up
 * everything.
 */
async function shopOn(transport: Transport & { deadLetters: DeadLetterBox }, name: string) {
  const handled: number[] = []
  const tries = new Map<number, number>()
  const receive = { immediateRetries: 0, maxDeliveries: 1, concurrency: 4 }
  const app = new Mersal({ name, transport, receive, logger: false })
  app.handle(Work, ({ id }) => {
    tries.set(id, (tries.get(id) ?? 0) + 1)
    if (id < POISON) throw new Error(`poison ${id}`)
    handled.push(id)
  })
  await app.start()
  for (let id = 0; id < POISON + 10; id++) await app.direct.send(Work, { id })
  return { app, handled, tries }
}

/**
 * Everybody else is handled, the poison is tried once, there is one error, and the app stops at
 * once.
 */
async function expectSetAside(
  { app, handled, tries }: Awaited<ReturnType<typeof shopOn>>,
  said: ReturnType<typeof recorder>,
) {
  await until('handling of the others', () => handled.length === 10)
  await until('the error', () => said.of('error').length > 0)
  await pause(1500)
  expect([...tries.values()].every((count) => count === 1)).toBe(true)
  expect(said.of('error')).toHaveLength(1)
  expect(said.of('error')[0]?.text).toContain('dead letters cannot be stored')
  expect(said.of('warn').length).toBeLessThanOrEqual(1)
  const began = performance.now()
  await app.stop()
  expect(performance.now() - began).toBeLessThan(8000)
}

describe('a dead letter that cannot be stored is set aside, and everything else goes on', () => {
  for (const [what, forbid, allow] of [
    [
      'a missing grant',
      (S: string, role: string) => `revoke insert on ${S}.queue_dead from ${role}`,
      (S: string, role: string) => `grant insert on ${S}.queue_dead to ${role}`,
    ],
    [
      'a trigger that refuses',
      (
        S: string,
      ) => `create function ${S}.no() returns trigger language plpgsql as $$ begin raise 'no dead letters today'; end $$;
        create trigger no before insert on ${S}.queue_dead for each row execute function ${S}.no()`,
      (S: string) => `drop trigger no on ${S}.queue_dead`,
    ],
  ] as const) {
    test.skipIf(!postgresHere)(
      `in the PostgreSQL queue, by ${what}`,
      { timeout: 240_000 },
      async () => {
        await using database = await testDatabase()
        const { schema } = database
        const role = `mersal_role_${randomBytes(5).toString('hex')}`
        await using _tables = await (async () => {
          const maker = postgresQueue({ pool: database.pool, schema })
          await maker.subscribe('shop', [])
          return maker
        })()
        await database.query(`create role ${role} nologin`)
        await database.query(
          `grant all on schema ${schema} to ${role}; grant all on all tables in schema ${schema} to ${role}; grant all on all sequences in schema ${schema} to ${role}`,
        )
        try {
          const said = recorder()
          const transport = postgresQueue({
            pool: database.newPool({ options: `-c role=${role}` }),
            schema,
            migrate: 'check',
            logger: said.logger,
          })
          await database.query(forbid(schema, role))
          await expectSetAside(await shopOn(transport, 'shop'), said)
          const rows = await database.query(
            `select dead_reason, dead_error, attempts, visible_at > now() + interval '30 seconds' as far from ${schema}.queue_message`,
          )
          expect(rows).toHaveLength(POISON)
          for (const row of rows)
            expect(row).toMatchObject({
              dead_reason: 'handler-failed',
              attempts: 0,
              far: true,
              dead_error: expect.stringContaining('poison'),
            })
          await database.query(allow(schema, role))
          await database.query(`update ${schema}.queue_message set visible_at = now()`)
          const later = postgresQueue({
            pool: database.newPool({ options: `-c role=${role}` }),
            schema,
            migrate: 'check',
            logger: said.logger,
          })
          const calls: unknown[] = []
          const again = await later.consume({ queue: 'shop', concurrency: 4 }, async (delivery) => {
            calls.push(delivery)
            return { kind: 'ack' }
          })
          await until(
            'the dead letters',
            async () => (await later.deadLetters.list()).length === POISON,
          )
          expect(calls).toEqual([])
          for (const letter of await later.deadLetters.list())
            expect(letter).toMatchObject({ reason: 'handler-failed', attempts: 1 })
          await again[Symbol.asyncDispose]()
          await later[Symbol.asyncDispose]()
        } finally {
          await database.query(`drop owned by ${role} cascade; drop role ${role}`)
        }
      },
    )
  }

  test('in the SQLite queue, by a trigger that refuses', { timeout: 240_000 }, async () => {
    const folder = mkdtempSync(join(tmpdir(), 'mersal-aside-'))
    try {
      const path = join(folder, 'queue.db')
      const said = recorder()
      const transport = sqliteQueue({ path, logger: said.logger })
      await transport.subscribe('shop', [])
      const other = new DatabaseSync(path, { timeout: 5000 })
      other.exec(
        `create trigger no before insert on mersal_queue_dead_letters begin select raise(abort, 'no dead letters today'); end`,
      )
      await expectSetAside(await shopOn(transport, 'shop'), said)
      const rows = other
        .prepare('select dead_reason, dead_error, attempts from mersal_queue_messages')
        .all()
      expect(rows).toHaveLength(POISON)
      for (const row of rows)
        expect(row).toMatchObject({
          dead_reason: 'handler-failed',
          attempts: 0,
          dead_error: expect.stringContaining('poison'),
        })
      other.exec('drop trigger no; update mersal_queue_messages set visible_at = 0')
      other.close()
      await using later = sqliteQueue({ path, logger: said.logger })
      const calls: unknown[] = []
      await using _again = await later.consume(
        { queue: 'shop', concurrency: 4 },
        async (delivery) => {
          calls.push(delivery)
          return { kind: 'ack' }
        },
      )
      await until(
        'the dead letters',
        async () => (await later.deadLetters.list()).length === POISON,
      )
      expect(calls).toEqual([])
      for (const letter of await later.deadLetters.list())
        expect(letter).toMatchObject({ reason: 'handler-failed', attempts: 1 })
    } finally {
      rmSync(folder, { recursive: true, force: true })
    }
  })

  test.skipIf(!rabbitHere)(
    'at RabbitMQ, by a full dead-letter queue',
    { timeout: 240_000 },
    async () => {
      await using place = await openVhost()
      await using plain = await plainClient(place.url)
      const said = recorder()
      const name = `shop-${randomBytes(4).toString('hex')}`
      // The operator has made a dead-letter queue that takes nothing.
      await place.ctl(
        'set_policy',
        '-p',
        place.vhost,
        'full',
        '\\.dead$',
        '{"max-length":0,"overflow":"reject-publish"}',
        '--apply-to',
        'queues',
      )
      const transport = rabbitmq({
        url: place.url,
        logger: said.logger,
        queueType: 'classic',
        newQueuePauseMs: 0,
      })
      await expectSetAside(await shopOn(transport, name), said)
      const waiting = await plain.drain(`${name}.retry.60000`)
      expect(waiting).toHaveLength(POISON)
      await place.ctl('clear_policy', '-p', place.vhost, 'full')
      // As if their minute had passed.
      for (const message of waiting)
        plain.channel.sendToQueue(name, message.content, {
          ...message.properties,
          headers: message.properties.headers,
        })
      await using later = rabbitmq({
        url: place.url,
        logger: said.logger,
        queueType: 'classic',
        newQueuePauseMs: 0,
      })
      const calls: unknown[] = []
      await later.subscribe(name, [])
      await using _again = await later.consume(
        { queue: name, concurrency: 4 },
        async (delivery) => {
          calls.push(delivery)
          return { kind: 'ack' }
        },
      )
      await until(
        'the dead letters',
        async () => (await later.deadLetters.list()).length === POISON,
      )
      expect(calls).toEqual([])
      for (const letter of await later.deadLetters.list()) {
        expect(letter).toMatchObject({
          reason: 'handler-failed',
          attempts: 1,
          error: expect.stringContaining('poison'),
        })
      }
    },
  )
})
