import { describe, expect, test } from 'vitest'
import { createAmbient } from '../../../../src/app/unit/ambient.ts'
import { createSender } from '../../../../src/app/send/sender.ts'
import type { Unit } from '../../../../src/app/unit/unit.ts'
import { OpenUnits } from '../../../../src/app/unit/open-units.ts'
import { unitRunner } from '../../../../src/app/unit/run-unit.ts'
import { savedRow } from '../../../../src/core/outbox.ts'
import { MersalError, silentLogger } from '../../../../src/index.ts'
import type {
  ClaimedMessage,
  OutgoingMessage,
  SaveOptions,
  UnitOfWork,
} from '../../../../src/index.ts'
import type { Relay } from '../../../../src/outbox/types.ts'
import { manualClock } from '../../../../src/testing/index.ts'
import { rejection } from '../../support/errors.ts'

const message = (id: string): OutgoingMessage => ({
  id,
  type: 't',
  headers: {},
  body: new Uint8Array(),
  to: { transport: 'default', kind: 'queue', name: 'q' },
})

/**
 * A runner of units between a scripted database and a scripted relay; notes what happens, in order.
 */
function setUp(script: {
  born?: readonly boolean[]
  offer?: boolean
  commit?: () => Promise<void>
  save?: () => Promise<void>
}) {
  const log: string[] = []
  const dispatched: ClaimedMessage[] = []
  const relay = {
    wake: () => log.push('wake'),
    express: () => {
      log.push('offer')
      if (script.offer === false) return undefined
      return {
        token: 'mine',
        graceMs: 100,
        dispatch: (messages: readonly ClaimedMessage[]) => {
          log.push(`dispatch ${messages.length}`)
          dispatched.push(...messages)
        },
        cancel: () => log.push('cancel'),
      }
    },
  } as unknown as Relay
  const unitOfWork: UnitOfWork<object> = async (work) => {
    const result = await work({})
    await script.commit?.()
    log.push('commit')
    return result
  }
  const storage = {
    save: async (_tx: object, messages: readonly OutgoingMessage[], options?: SaveOptions) => {
      log.push(`save ${messages.length} ${options?.express?.token ?? 'free'}`)
      await script.save?.()
      return messages.map((_, index) => savedRow(BigInt(index + 1), script.born?.[index] ?? false))
    },
    claim: () => Promise.resolve([]),
    settle: () => Promise.resolve({ stale: 0 }),
    prune: () => Promise.resolve(0),
  }
  const outbox = { storage, committed: () => 0 }
  const run = unitRunner({
    app: 'a',
    ambient: createAmbient<object>(),
    unitOfWork,
    savepoints: undefined,
    outbox,
    relay,
    units: new OpenUnits<object>(new AbortController().signal),
    clock: manualClock(),
    logger: silentLogger,
  })
  const add = (...ids: string[]) =>
    run({
      work: (unit: Unit<object>) =>
        Promise.all(ids.map((id) => unit.add('a send', () => Promise.resolve(message(id))))),
    })
  return { log, dispatched, add, run }
}

describe('the express lane', () => {
  test('rows that were born claimed are handed over after the commit, with position and token', async () => {
    const { log, dispatched, add } = setUp({ born: [true, true] })
    await add('1', '2')
    expect(log).toEqual(['offer', 'save 2 mine', 'commit', 'dispatch 2'])
    expect(dispatched).toEqual([
      { message: message('1'), position: 1n, attempt: 0, token: 'mine' },
      { message: message('2'), position: 2n, attempt: 0, token: 'mine' },
    ])
  })

  test('rows that were born free only wake the relay', async () => {
    const { log, dispatched, add } = setUp({ born: [false, true] })
    await add('1', '2')
    expect(log).toEqual(['offer', 'save 2 mine', 'commit', 'dispatch 1', 'wake'])
    expect(dispatched.map((row) => row.position)).toEqual([2n])
  })

  test('an offer that no row took is given back', async () => {
    const { log, add } = setUp({ born: [false] })
    await add('1')
    expect(log).toEqual(['offer', 'save 1 mine', 'commit', 'cancel', 'wake'])
  })

  test('without an offer the rows are born free', async () => {
    const { log, add } = setUp({ offer: false })
    await add('1')
    expect(log).toEqual(['offer', 'save 1 free', 'commit', 'wake'])
  })

  test('a unit without messages asks for nothing', async () => {
    const { log, run } = setUp({})
    expect(await run({ work: () => Promise.resolve(7) })).toBe(7)
    expect(log).toEqual(['commit'])
  })

  for (const code of ['MERSAL_COMMIT_UNKNOWN', 'MERSAL_ROLLED_BACK'] as const) {
    test(`P13: after ${code} nothing is published from memory`, async () => {
      const { log, dispatched, add } = setUp({
        born: [true],
        commit: () => Promise.reject(new MersalError(code, 'no answer')),
      })
      await rejection(add('1'), code)
      expect(log).toEqual(['offer', 'save 1 mine', 'cancel'])
      expect(dispatched).toEqual([])
    })
  }

  test('a save that fails gives the offer back', async () => {
    const { log, add } = setUp({ save: () => Promise.reject(new Error('disk full')) })
    await expect(add('1')).rejects.toThrow('disk full')
    expect(log).toEqual(['offer', 'save 1 mine', 'cancel'])
  })

  test('the sender of a unit needs no this', async () => {
    const calls: string[] = []
    const { send, sendLocal, publish } = createSender((verb) =>
      Promise.resolve(calls.push(verb).toString()),
    )
    await Promise.all([
      send(undefined as never, {}),
      sendLocal(undefined as never, {}),
      publish(undefined as never, {}),
    ])
    expect(calls).toEqual(['send', 'sendLocal', 'publish'])
  })
})
