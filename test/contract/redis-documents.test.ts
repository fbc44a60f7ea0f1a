import { setTimeout as wait } from 'node:timers/promises'
import { randomUUID } from 'node:crypto'
import { createClient } from '@redis/client'
import { afterAll, beforeAll, describe, test } from 'vitest'
import { redisDocuments } from '../../src/redis.ts'
import { type DocumentsHarness, documentsContract } from '../../src/testing/index.ts'
import { openPrivateRedis, type PrivateRedis, redisIsHere } from '../redis/server.ts'

const here = redisIsHere()
let server: PrivateRedis

beforeAll(async () => {
  if (here) server = await openPrivateRedis()
})
afterAll(async () => {
  if (here) await server[Symbol.asyncDispose]()
})

function harness(): DocumentsHarness {
  const prefix = `d${randomUUID().slice(0, 8)}`
  const clients: { destroy(): void }[] = []
  return {
    open: async () => {
      const client = await createClient({ url: server.url }).connect()
      clients.push(client)
      return redisDocuments({ client, prefix })
    },
    elapse: (ms) => wait(ms),
    [Symbol.asyncDispose]: () => {
      for (const client of clients) client.destroy()
      return Promise.resolve()
    },
  }
}

describe.skipIf(!here)('documents in Redis', () => {
  for (const item of documentsContract) {
    test(item.name, async () => {
      await using place = harness()
      await item.run(place)
    })
  }
})
