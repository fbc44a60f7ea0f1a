import { setTimeout as wait } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { freePort } from '../../scripts/servers/postgres.ts'
import { openProxy } from '../chaos/proxy.ts'
import { kafkaIsHere, openPrivateKafka, type PrivateKafka } from '../kafka/server.ts'
import { traffic } from '../kafka/traffic.ts'
import { again, missing, until } from './sending.ts'

const here = kafkaIsHere()
const CONCURRENCY = 20
const LONG_MS = 120_000
let server: PrivateKafka
let proxy: Awaited<ReturnType<typeof openProxy>>
let count = 0

/** Clients reach the one broker of this file through a proxy: it says that it is there. */
beforeAll(async () => {
  if (!here) return
  const port = await freePort()
  proxy = await openProxy(port)
  server = await openPrivateKafka({ port, advertised: proxy.port })
}, LONG_MS)
afterAll(async () => {
  if (!here) return
  await server[Symbol.asyncDispose]()
  await proxy[Symbol.asyncDispose]()
})

const place = (): { readonly server: string; readonly options: { readonly prefix: string } } => ({
  server: `127.0.0.1:${proxy.port}`,
  options: { prefix: `f${++count}` },
})

describe.skipIf(!here)('Kafka under faults (P2, P5, P6)', () => {
  test(
    'a broker that is killed twice loses nothing, and the order of no key',
    async () => {
      const result = await traffic({
        ...place(),
        messages: 1200,
        concurrency: CONCURRENCY,
        fault: async ({ sent }) => {
          for (let kill = 1; kill <= 2; kill++) {
            const before = sent()
            await until(() => sent() > before + 100)
            await server.signal('SIGKILL')
            await wait(300)
            await server.start()
          }
        },
      })
      expect(result.refused).toEqual([])
      expect(result.confirmedAt.size).toBe(1200)
      expect(missing(result)).toEqual([])
      expect(result.overtaken).toEqual([])
    },
    LONG_MS,
  )

  test(
    'a broker that hangs for longer than the session loses nothing',
    async () => {
      const result = await traffic({
        ...place(),
        messages: 1000,
        concurrency: CONCURRENCY,
        fault: async ({ sent }) => {
          await until(() => sent() > 200)
          await server.signal('SIGSTOP')
          await wait(5000)
          await server.signal('SIGCONT')
        },
      })
      expect(result.refused).toEqual([])
      expect(missing(result)).toEqual([])
      expect(again(result)).toBeLessThanOrEqual(result.unknown + CONCURRENCY)
      expect(result.overtaken).toEqual([])
    },
    LONG_MS,
  )

  test(
    'a link that is cut without a word, and then reset, loses nothing',
    async () => {
      const result = await traffic({
        ...place(),
        messages: 1000,
        concurrency: CONCURRENCY,
        fault: async ({ sent }) => {
          await until(() => sent() > 200)
          proxy.weather({ kind: 'black hole' })
          await wait(5000)
          proxy.reset()
          proxy.weather({ kind: 'fair' })
        },
      })
      expect(result.refused).toEqual([])
      expect(missing(result)).toEqual([])
      expect(again(result)).toBeLessThanOrEqual(result.unknown + CONCURRENCY)
      expect(result.overtaken).toEqual([])
    },
    LONG_MS,
  )

  test(
    'connections that are reset cost neither a hold nor a copy: what was under way is sent again with its numbers',
    async () => {
      const result = await traffic({
        ...place(),
        options: { ...place().options, sessionTimeoutMs: 10_000, confirmTimeoutMs: 10_000 },
        messages: 1000,
        concurrency: CONCURRENCY,
        fault: async ({ sent }) => {
          for (let reset = 1; reset <= 3; reset++) {
            const before = sent()
            await until(() => sent() > before + 100)
            proxy.reset()
          }
        },
      })
      expect([result.unknown, result.lost, again(result)]).toEqual([0, 0, 0])
      expect(missing(result)).toEqual([])
      expect(result.overtaken).toEqual([])
    },
    LONG_MS,
  )
})

describe.skipIf(!here)('consumers of a Kafka queue that come and go (P4, P5)', () => {
  test(
    'hand their partitions over without a loss, a repetition, or two messages of a key at once',
    async () => {
      const result = await traffic({
        ...place(),
        messages: 1500,
        concurrency: CONCURRENCY,
        paceMs: 300,
        fault: async ({ join }) => {
          for (let storm = 1; storm <= 3; storm++) {
            await using _one = await join()
            await using _two = await join()
            await wait(1000)
          }
        },
      })
      expect(missing(result)).toEqual([])
      expect(again(result)).toBe(0)
      expect([result.overtaken, result.together, result.lost]).toEqual([[], 0, 0])
    },
    LONG_MS,
  )
})
