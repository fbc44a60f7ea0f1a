import { DatabaseSync } from 'node:sqlite'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, describe, expect, test } from 'vitest'
import {
  type HandlingStep,
  Mersal,
  type MersalOptions,
  command,
  event,
} from '../../../../src/index.ts'
import { sqlite } from '../../../../src/sqlite.ts'
import { capture } from '../../../../src/testing/index.ts'
import { fakeTransport, json } from '../../support/fake-transport.ts'

const Place = command<{ id: number }>('orders.place')
const Seen = event<{ id: number }>('orders.seen')

const folders: string[] = []
afterEach(() => {
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true, force: true })
})

async function shop(options: Partial<MersalOptions<DatabaseSync>>) {
  const folder = mkdtempSync(join(tmpdir(), 'mersal-steps-'))
  folders.push(folder)
  const path = join(folder, 'shop.db')
  const database = new DatabaseSync(path)
  database.exec('create table notes (text text not null)')
  const transport = fakeTransport()
  const app = new Mersal<DatabaseSync>({
    name: 'shop',
    store: sqlite({ path }),
    transport,
    logger: false,
    receive: { immediateRetries: 0 },
    ...options,
  })
  const note = (tx: DatabaseSync, text: string) =>
    tx.prepare('insert into notes values (?)').run(text)
  return {
    app,
    note,
    place: (id: number) =>
      transport.deliver('shop', {
        id: crypto.randomUUID(),
        type: 'orders.place',
        body: json({ id }),
      }),
    notes: () =>
      database
        .prepare('select text from notes')
        .all()
        .map(({ text }) => text),
    rows: () =>
      database
        .prepare('select type from mersal_outbox')
        .all()
        .map(({ type }) => type),
    [Symbol.asyncDispose]: async () => {
      await app.stop()
      database.close()
    },
  }
}

type Step = HandlingStep<DatabaseSync>

describe('steps around handlers', () => {
  test('write and send in the transaction of the handler, from the outside in', async () => {
    const order: string[] = []
    const audit: Step = {
      name: 'audit',
      async run({ type, handler }, next) {
        order.push('audit')
        handler.tx.prepare('insert into notes values (?)').run(`begun ${type.name}`)
        await next()
        await handler.publish(Seen, { id: 7 })
        order.push('audited')
      },
    }
    const body: Step = {
      name: 'body',
      run(context, next) {
        order.push('body')
        context.body = { id: (context.body as { id: number }).id + 1 }
        return next()
      },
    }
    const outbox = { runRelay: false }
    await using world = await shop({ handling: [audit, body], outbox })
    world.app.handle(Place, ({ id }, { tx }) => {
      order.push('handler')
      world.note(tx, `order ${id}`)
    })
    await world.app.start()
    expect(await world.place(1)).toEqual({ kind: 'ack' })
    expect(order).toEqual(['audit', 'body', 'handler', 'audited'])
    expect(world.notes()).toEqual(['begun orders.place', 'order 2'])
    expect(world.rows()).toEqual(['orders.seen'])
  })

  test('are rolled back with a handler that fails, and fail with it', async () => {
    const audit: Step = {
      name: 'audit',
      async run({ handler }, next) {
        handler.tx.prepare('insert into notes values (?)').run('begun')
        await handler.publish(Seen, { id: 1 })
        await next()
      },
    }
    await using world = await shop({ handling: [audit] })
    world.app.handle(Place, () => Promise.reject(new Error('sold out')))
    await world.app.start()
    expect(await world.place(1)).toMatchObject({ kind: 'retry' })
    expect([world.notes(), world.rows()]).toEqual([[], []])
  })

  test('that fail after the handler undo what it did', async () => {
    const refuse: Step = {
      name: 'refuse',
      async run(_, next) {
        await next()
        throw new Error('limit exceeded')
      },
    }
    await using world = await shop({ handling: [refuse] })
    world.app.handle(Place, (_, { tx }) => void world.note(tx, 'order'))
    await world.app.start()
    expect(await world.place(1)).toMatchObject({ kind: 'retry' })
    expect(world.notes()).toEqual([])
  })

  test('may leave the handler out; the message then counts as handled', async () => {
    const skip: Step = { name: 'skip', run: () => Promise.resolve() }
    await using world = await shop({ handling: [skip] })
    let calls = 0
    world.app.handle(Place, () => void calls++)
    await world.app.start()
    expect(await world.place(1)).toEqual({ kind: 'ack' })
    expect(calls).toBe(0)
  })

  test('that end before the handler undo everything: nothing overtakes a handler', async () => {
    const hasty: Step = {
      name: 'hasty',
      run: (_, next) => {
        void next().catch(() => {})
        return Promise.resolve()
      },
    }
    await using world = await shop({ handling: [hasty] })
    world.app.handle(Place, async (_, { tx }) => {
      world.note(tx, 'order')
      await new Promise((resolve) => setTimeout(resolve, 5))
    })
    await world.app.start()
    const disposition = await world.place(1)
    expect(disposition).toMatchObject({ kind: 'retry', error: { code: 'MERSAL_NOT_AWAITED' } })
    expect(world.notes()).toEqual([])
  })

  test('stand around each handler of a shared transaction, and of a rehearsal', async () => {
    const audit: Step = {
      name: 'audit',
      async run({ handler }, next) {
        await next()
        await handler.publish(Seen, { id: 1 })
      },
    }
    await using world = await shop({ handling: [audit], outbox: { runRelay: false } })
    world.app.handle(Place, (_, { tx }) => void world.note(tx, 'order'), { batch: 3 })
    const rehearsed = await capture(world.app).handle(Place, { id: 1 })
    expect(rehearsed.map(({ type }) => type)).toEqual(['orders.seen'])
    await world.app.start()
    const all = await Promise.all([world.place(1), world.place(2), world.place(3)])
    expect(all).toEqual([{ kind: 'ack' }, { kind: 'ack' }, { kind: 'ack' }])
    expect(world.rows()).toHaveLength(3)
  })

  test.each([
    [[{ name: '', run() {} }], 'handling[0].name: expected text'],
    [[{ name: 'a' }], 'handling[0]'],
    [
      [
        { name: 'a', run() {} },
        { name: 'a', run() {} },
      ],
      "handling[1].name: 'a' is used twice",
    ],
  ])('%j is refused', async (handling, text) => {
    await expect(shop({ handling: handling as never })).rejects.toThrow(text)
  })
})
