import { describe, test } from 'vitest'
import type { MemoryTransaction } from '../../src/stores/memory.ts'
import { memoryDatabase, memoryStore } from '../../src/stores/memory.ts'
import { memoryNetwork } from '../../src/transports/memory.ts'
import {
  manualClock,
  onceContract,
  operationsContract,
  outboxContract,
  outboxRetentionContract,
  type RetentionHarness,
  sagaContract,
  savepointContract,
  trackerContract,
  type TransportHarness,
  transportContract,
  wakerContract,
} from '../../src/testing/index.ts'

function storeHarness() {
  const clock = manualClock()
  const database = memoryDatabase({ clock })
  const open = () => Promise.resolve(memoryStore({ database }))
  let rows = 0
  return {
    open,
    openKeeping: (keepSentMs) => Promise.resolve(memoryStore({ database, keepSentMs })),
    write: (tx, text) => Promise.resolve(tx.set(`row ${rows++}`, text)),
    read: async () =>
      (await open()).unitOfWork((tx) =>
        Promise.resolve(tx.entries().map(([, text]) => String(text))),
      ),
    elapse: (ms) => clock.advance(ms),
    strangers: [memoryStore(), database],
    [Symbol.asyncDispose]: () => Promise.resolve(),
  } satisfies RetentionHarness<MemoryTransaction>
}

describe('memory store: outbox', () => {
  for (const item of outboxContract) test(item.name, () => item.run(storeHarness()))
  for (const item of outboxRetentionContract) test(item.name, () => item.run(storeHarness()))
  for (const item of operationsContract) {
    // It has no tables and no server.
    if (/^(?:examine|schema):/.test(item.name)) continue
    test(item.name, () => item.run(storeHarness()))
  }
  for (const item of savepointContract) test(item.name, () => item.run(storeHarness()))
  for (const item of onceContract) test(item.name, () => item.run(storeHarness()))
  for (const item of sagaContract) test(item.name, () => item.run(storeHarness()))
})

describe('memory store: tracker', () => {
  for (const item of trackerContract) test(item.name, () => item.run(storeHarness()))
})

describe('memory store: waker', () => {
  for (const item of wakerContract) {
    test(item.name, async () => {
      await using store = memoryStore()
      const message = {
        id: '1',
        type: 'hint',
        headers: {},
        body: new Uint8Array(),
        to: { transport: 'default', kind: 'queue', name: 'q' },
      } as const
      const cause = async (): Promise<void> => {
        await store.unitOfWork((tx) => store.outbox.save(tx, [message]))
      }
      await item.run({
        waker: store.wakers[0] ?? (() => Promise.reject(new Error('no waker'))),
        cause,
        [Symbol.asyncDispose]: () => Promise.resolve(),
      })
    })
  }
})

function transportHarness(): TransportHarness {
  const clock = manualClock()
  const network = memoryNetwork({ clock, maxMessageBytes: 2_000_000 })
  return {
    open: () => Promise.resolve(network.transport()),
    orderPerKey: 'when-asked',
    name: (label) => label,
    elapse: (ms) => clock.advance(ms),
    crash: (transport) => Promise.resolve(transport[Symbol.asyncDispose]()),
    deadLetters: () => network.deadLetters,
    [Symbol.asyncDispose]: () => Promise.resolve(),
  }
}

describe('memory transport', () => {
  for (const item of transportContract) test(item.name, () => item.run(transportHarness()))
})
