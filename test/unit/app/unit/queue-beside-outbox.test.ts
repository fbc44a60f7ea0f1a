import { describe, expect, test } from 'vitest'
import { appOutbox } from '../../../../src/app/unit/queue-beside-outbox.ts'
import type { OutgoingMessage } from '../../../../src/core/messages/message.ts'
import { type OutboxStorage, savedRow } from '../../../../src/core/outbox.ts'
import type { QueueBesideOutbox } from '../../../../src/core/queue-beside-outbox.ts'
import { silentLogger } from '../../../../src/core/telemetry.ts'
import { manualClock } from '../../../../src/testing/index.ts'
import { fakeTransport } from '../../support/fake-transport.ts'

const message = (id: string, transport: string, partitionKey?: string): OutgoingMessage => ({
  id,
  type: 't',
  headers: {},
  body: new Uint8Array(),
  to: { transport, kind: 'queue', name: `q-${id}` },
  ...(partitionKey === undefined ? {} : { partitionKey }),
})

const idsOf = (messages: readonly OutgoingMessage[]): string => messages.map(({ id }) => id).join()

/** An outbox at the place `here`, and a transport `near` with a queue at `place`. */
function setUp({
  place = () => Promise.resolve('here'),
  refused = [] as readonly string[],
  logger = silentLogger,
} = {}) {
  const log: string[] = []
  let position = 0n
  const save = (_: object, messages: readonly OutgoingMessage[]) => {
    log.push(`outbox ${idsOf(messages)}`)
    return Promise.resolve(messages.map(() => savedRow(++position, false)))
  }
  const storage: OutboxStorage<object> = {
    openToQueue: {
      place: () => Promise.resolve('here'),
      query: () => Promise.resolve({ rows: [] }),
    },
    save,
    saveLast: (tx, messages) => ({ saved: save(tx, messages) }),
    claim: () => Promise.resolve([]),
    settle: () => Promise.resolve({ stale: 0 }),
    prune: () => Promise.resolve(0),
  }
  const queue: QueueBesideOutbox = {
    place,
    put: (_, messages, keys) => {
      log.push(`queue ${idsOf(messages)} keys ${keys.join()}`)
      return Promise.resolve(messages.map(({ id }) => !refused.includes(id)))
    },
    committed: (messages) => void log.push(`woken ${idsOf(messages)}`),
  }
  const clock = manualClock()
  const transports = new Map([
    ['near', { ...fakeTransport(), straight: queue }],
    ['far', fakeTransport()],
  ])
  const outbox = appOutbox(storage, { transports, logger, clock })
  return { outbox, clock, log, tx: {} }
}

describe('the outbox of an app beside a queue in the same place', () => {
  test('puts messages for that queue straight into it, and the others into the outbox', async () => {
    const { outbox, log, tx } = setUp()
    await outbox.link()
    const messages = [message('1', 'near'), message('2', 'far'), message('3', 'near')]
    const saved = await outbox.storage.save(tx, messages)
    expect(log).toEqual(['queue 1,3 keys ', 'outbox 2'])
    expect(saved[1]).toEqual({ kind: 'row', position: 1n })
    expect(outbox.committed(messages, saved)).toBe(2)
    expect(log.at(-1)).toBe('woken 1,3')
  })

  test('keeps a message behind an earlier one of its key that goes elsewhere', async () => {
    const { outbox, log, tx } = setUp()
    await outbox.link()
    await outbox.storage.save(tx, [
      message('1', 'far', 'k'),
      message('2', 'near', 'k'),
      message('3', 'near', 'other'),
    ])
    expect(log).toEqual(['queue 3 keys k,other', 'outbox 1,2'])
  })

  test('puts what the queue does not take into the outbox', async () => {
    const { outbox, log, tx } = setUp({ refused: ['1'] })
    await outbox.link()
    const messages = [message('1', 'near'), message('2', 'near')]
    const saved = await outbox.storage.save(tx, messages)
    expect(log).toEqual(['queue 1,2 keys ', 'outbox 1'])
    expect(outbox.committed(messages, saved)).toBe(1)
  })

  test('saves with the commit only what no queue may take', async () => {
    const { outbox, tx } = setUp()
    await outbox.link()
    expect(outbox.storage.saveLast?.(tx, [message('1', 'near')])).toBeUndefined()
    expect(outbox.storage.saveLast?.(tx, [message('2', 'far')])).toBeDefined()
  })

  test('wakes consumers for a second after a transaction whose end it does not see', async () => {
    const { outbox, clock, log, tx } = setUp()
    await outbox.link()
    const messages = [message('1', 'near')]
    outbox.written(messages, await outbox.storage.save(tx, messages))
    log.length = 0
    outbox.remind()
    await clock.advance(1001)
    outbox.remind()
    outbox.remind()
    expect(log).toEqual(['woken 1', 'woken 1'])
  })
})

describe('everything goes through the outbox', () => {
  test('before it is known which queue is in its place', async () => {
    const { outbox, log, tx } = setUp()
    const messages = [message('1', 'near')]
    expect(outbox.committed(messages, await outbox.storage.save(tx, messages))).toBe(0)
    expect(log).toEqual(['outbox 1'])
  })

  test('when the queue is elsewhere', async () => {
    const { outbox, log, tx } = setUp({ place: () => Promise.resolve('there') })
    await outbox.link()
    await outbox.storage.save(tx, [message('1', 'near')])
    expect(log).toEqual(['outbox 1'])
  })

  test('when the place of the queue cannot be found out, with a warning that names the cause', async () => {
    const lines: object[] = []
    const cause = Object.assign(new Error('no such host'), { code: 'ENOTFOUND' })
    const { outbox, log, tx } = setUp({
      place: () => Promise.reject(new Error('asking failed', { cause })),
      logger: { ...silentLogger, warn: (fields) => void lines.push(fields) },
    })
    await outbox.link()
    await outbox.storage.save(tx, [message('1', 'near')])
    expect(log).toEqual(['outbox 1'])
    const error = 'Error: asking failed; caused by Error: no such host (ENOTFOUND)'
    expect(lines).toEqual([{ transport: 'near', code: 'ENOTFOUND', error }])
  })

  test('when the place of the queue is not answered in two seconds', async () => {
    const { outbox, clock, log, tx } = setUp({ place: () => new Promise(() => {}) })
    const linking = outbox.link()
    await clock.advance(2000)
    await linking
    await outbox.storage.save(tx, [message('1', 'near')])
    expect(log).toEqual(['outbox 1'])
  })
})
