import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { setTimeout as pause } from 'node:timers/promises'
import { Mersal, type MersalOptions, command, event } from '../../../src/index.ts'
import { rabbitmq, type RabbitOptions } from '../../../src/rabbitmq.ts'
import { sqlite } from '../../../src/sqlite.ts'

interface Order {
  readonly n: number
}

export const Placed = event<Order>('orders.placed')
export const Noted = event<Order>('orders.noted')
export const Book = command<Order>('orders.book')

/** An event for the tap, and a command or event for the app itself. */
export interface Ids {
  readonly placed: string
  readonly booked: string
}

/** Keys of the events, so that their order can be looked at. */
export const keyOf = (n: number): string => `key-${n % 5}`

/**
 * A whole app under a fault: a database, a relay, a consumer, and somebody who never stops writing.
 */
export interface Shop extends AsyncDisposable {
  readonly app: Mersal<DatabaseSync>
  readonly store: ReturnType<typeof sqlite>
  /** Every line of the logs of app and transport, with all of its fields. */
  readonly log: readonly {
    readonly level: string
    readonly text: string
    readonly all: string
    readonly at: number
  }[]
  /** Orders that were committed, oldest first; read past the app. */
  committed(): readonly number[]
  /** How often each order had its effect; read past the app. */
  effects(): ReadonlyMap<number, number>
  deadLetters(): number
  pending(): number
  /**
   * Begins to write, one transaction after the other; each tenth is rolled back. The result ends
   * it.
   */
  write(): () => Promise<void>
  /** Ids of the two messages of an order. */
  ids(n: number): Ids
}

export function openShop(
  name: string,
  url: string,
  transport: RabbitOptions = {},
  more: Partial<MersalOptions<DatabaseSync>> = {},
): Shop {
  const folder = mkdtempSync(join(tmpdir(), 'mersal-outage-'))
  const path = join(folder, 'shop.db')
  const log: { level: string; text: string; all: string; at: number }[] = []
  const write =
    (level: string) =>
    (fields: object, text: string): void => {
      const plain = (_: string, value: unknown): unknown =>
        value instanceof Error ? { message: value.message, stack: value.stack } : value
      log.push({
        level,
        text,
        all: `${text} ${JSON.stringify(fields, plain)}`,
        at: performance.now(),
      })
    }
  const logger = {
    debug: write('debug'),
    info: write('info'),
    warn: write('warn'),
    error: write('error'),
  }
  // The machine does not fail here, only the broker does; so nobody has to wait for the disk.
  const store = sqlite({ path, synchronous: 'normal' })
  const app = new Mersal<DatabaseSync>({
    name,
    store,
    transport: rabbitmq({ url, logger, heartbeatSeconds: 1, ...transport }),
    logger,
    ...more,
  })
  const book = ({ n }: Order, { tx }: { readonly tx: DatabaseSync }): void => {
    tx.prepare('insert into effects (n) values (?)').run(n)
  }
  if (more.sendOnly !== true) {
    app.handle(Book, book)
    app.handle(Noted, book)
  }
  const tables = new DatabaseSync(path)
  tables.exec(
    'pragma journal_mode = wal; create table orders (n integer primary key); create table effects (n integer)',
  )
  const numbers = (sql: string): Record<string, number>[] =>
    tables.prepare(sql).all() as Record<string, number>[]
  let next = 0
  const ids = new Map<number, Ids>()

  async function order(): Promise<void> {
    const n = next++
    const work = app.transaction(async (tx, { publish, sendLocal }) => {
      tx.prepare('insert into orders (n) values (?)').run(n)
      const placed = await publish(Placed, { n }, { partitionKey: keyOf(n) })
      const booked = await (more.sendOnly === true || n % 2 === 0
        ? publish(Noted, { n })
        : sendLocal(Book, { n }))
      ids.set(n, { placed, booked })
      if (n % 10 === 9) throw new Error('rolled back')
    })
    await work.catch((error: unknown) => {
      if ((error as Error).message !== 'rolled back') throw error
    })
  }

  return {
    app,
    store,
    log,
    committed: () => numbers('select n from orders order by n').map(({ n }) => n as number),
    effects: () =>
      new Map(
        numbers('select n, count(*) as times from effects group by n').map(({ n, times }) => [
          n as number,
          times as number,
        ]),
      ),
    deadLetters: () => numbers('select count(*) as times from mersal_dead_letters')[0]!['times']!,
    pending: () => numbers('select count(*) as times from mersal_outbox')[0]!['times']!,
    write() {
      const over = new AbortController()
      const writing = (async () => {
        while (!over.signal.aborted) {
          await order()
          await pause(10)
        }
      })()
      return () => {
        over.abort()
        return writing
      }
    },
    ids: (n) => ids.get(n)!,
    async [Symbol.asyncDispose]() {
      await app.stop()
      tables.close()
      rmSync(folder, { recursive: true, force: true })
    },
  }
}
