import { expect, test } from 'vitest'
import { silentLogger } from '../../../src/core/telemetry.ts'
import { type JanitorPorts, runJanitor } from '../../../src/outbox/janitor.ts'
import { manualClock } from '../../../src/testing/manual-clock.ts'
import { calm } from './support.ts'

function table(rows: number): {
  left: number
  limits: number[]
  failing: boolean
  prune: (options: { limit: number }) => Promise<number>
} {
  const state = {
    left: rows,
    limits: [] as number[],
    failing: false,
    prune: ({ limit }: { limit: number }) => {
      state.limits.push(limit)
      if (state.failing) return Promise.reject(new Error('away'))
      const removed = Math.min(limit, state.left)
      state.left -= removed
      return Promise.resolve(removed)
    },
  }
  return state
}

async function run(
  ports: Omit<JanitorPorts, 'app' | 'clock' | 'logger'>,
  use: (clock: ReturnType<typeof manualClock>, warnings: string[]) => Promise<void>,
) {
  const clock = manualClock()
  const controller = new AbortController()
  const warnings: string[] = []
  const logger = { ...silentLogger, warn: (_: unknown, text: string) => warnings.push(text) }
  const ended = runJanitor({ app: 'test', clock, logger, ...ports }, { signal: controller.signal })
  await calm()
  await use(clock, warnings)
  controller.abort()
  await ended
  expect(clock.sleeping).toBe(0)
}

test('it removes in bounded batches until one comes back short, and again after the interval', async () => {
  const outbox = table(250)
  await run({ storage: outbox, options: { intervalMs: 1000, batchSize: 100 } }, async (clock) => {
    expect(outbox.limits).toEqual([100, 100, 100])
    outbox.left = 30
    await clock.advance(999)
    expect(outbox.left).toBe(30)
    await clock.advance(1)
    expect(outbox.left).toBe(0)
  })
})

test('inbox records go after their retention', async () => {
  const inbox = table(5)
  const asked: unknown[] = []
  const tracker = {
    prune: (options: { olderThanMs: number; limit: number }) => {
      asked.push(options)
      return inbox.prune(options)
    },
  }
  await run({ inbox: { tracker, retentionMs: 604_800_000 } }, async () => {
    expect(asked).toEqual([{ olderThanMs: 604_800_000, limit: 1000 }])
    await Promise.resolve()
  })
})

test('a failure is reported once and holds up neither the other table nor the next round', async () => {
  const outbox = table(10)
  const inbox = table(10)
  outbox.failing = true
  await run(
    {
      storage: outbox,
      inbox: { tracker: inbox, retentionMs: 1000 },
      options: { intervalMs: 1000 },
    },
    async (clock, warnings) => {
      expect(inbox.left).toBe(0)
      await clock.advance(3000)
      expect(outbox.limits).toHaveLength(4)
      expect(warnings).toHaveLength(1)
      outbox.failing = false
      await clock.advance(1000)
      expect(outbox.left).toBe(0)
    },
  )
})

test('unknown options are refused', () => {
  const ports = {
    app: 'test',
    clock: manualClock(),
    logger: silentLogger,
    options: { interval: 5 } as never,
  }
  expect(() => runJanitor(ports, { signal: AbortSignal.abort() })).toThrow(
    /there is no such option/,
  )
})

test('P4: a clock that was set forward while the janitor runs removes no record early, and one that is right again does', async () => {
  const retentionMs = 604_800_000
  const asked: { olderThanMs: number }[] = []
  const longer: (number | undefined)[] = []
  let setBy = 0
  const at = { now: () => 0 }
  const now = (): Promise<number> => Promise.resolve(1_700_000_000_000 + at.now() + setBy)
  const tracker = {
    now,
    prune: (options: { olderThanMs: number }) => {
      asked.push(options)
      return Promise.resolve(0)
    },
  }
  const storage = {
    clock: {
      read: async () => ({ now: await now(), ahead: 0 }),
      recover: () => Promise.resolve(0),
    },
    prune: ({ longerMs }: { longerMs?: number }) => {
      longer.push(longerMs)
      return Promise.resolve(0)
    },
  }
  const tenDays = 864_000_000
  await run(
    { storage, inbox: { tracker, retentionMs }, options: { intervalMs: 1000 } },
    async (clock) => {
      at.now = () => clock.monotonic()
      setBy -= clock.monotonic() // the first reading was taken at this moment
      await clock.advance(1000)
      setBy += tenDays
      await clock.advance(1000)
      setBy -= tenDays
      await clock.advance(1000)
    },
  )
  expect(asked.map(({ olderThanMs }) => olderThanMs - retentionMs)).toEqual([0, 0, tenDays, 0])
  expect(longer).toEqual([undefined, undefined, tenDays, undefined])
})
