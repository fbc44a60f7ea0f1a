import { setTimeout as wait } from 'node:timers/promises'
import { describe, expect, test } from 'vitest'
import { redis } from '../../src/redis.ts'
import { streamOf } from '../redis/plain-client.ts'
import { openPrivateRedis, type PrivateRedis, redisIsHere } from '../redis/server.ts'
import { hasty, numbered } from '../redis/traffic.ts'
import { nothingSent, type Sent, sendUntilConfirmed } from './sending.ts'

const here = redisIsHere()

/** Publishes without a pause; the server is killed and started again so often. Nobody reads. */
async function flood(
  server: PrivateRedis,
  kills: number,
): Promise<{ sent: Sent; lost: readonly string[]; copies: number; killedAt: number }> {
  const sent = nothingSent()
  await using sender = redis({ url: server.url, ...hasty })
  await sender.subscribe('flood', ['flood.event'])
  const over = new AbortController()
  let killedAt = 0
  const publishing = (async () => {
    while (!over.signal.aborted)
      await sendUntilConfirmed(sender, numbered(20, 'flood', 'flood.event'), sent)
  })()
  for (let kill = 1; kill <= kills; kill++) {
    const goal = sent.confirmedAt.size + 500
    while (sent.confirmedAt.size < goal) await wait(5)
    killedAt = performance.now()
    await server.signal('SIGKILL')
    if (kill === kills) over.abort()
    await server.start()
  }
  await publishing
  const found = (await streamOf(server.url, '{mersal}:queue:flood')).map(({ id }) => id ?? '')
  const there = new Set(found)
  const lost = [...sent.confirmedAt.keys()].filter((id) => !there.has(id))
  return { sent, lost, copies: found.length - there.size, killedAt }
}

describe.skipIf(!here)('a Redis that is killed', () => {
  test('with appendfsync always has everything that was confirmed (P2), once but for unknown outcomes (P6)', async () => {
    await using server = await openPrivateRedis({ fsync: 'always' })
    const { sent, lost, copies } = await flood(server, 3)
    expect(lost).toEqual([])
    expect(sent.refused).toEqual([])
    expect(copies).toBeLessThanOrEqual(sent.unknown)
    expect(sent.confirmedAt.size).toBeGreaterThanOrEqual(1500)
  })

  test('with appendfsync everysec may lose what was confirmed in the last two seconds, and nothing older', async () => {
    await using server = await openPrivateRedis({ fsync: 'everysec' })
    const { sent, lost, killedAt } = await flood(server, 1)
    const old = lost.filter((id) => (sent.confirmedAt.get(id) ?? 0) < killedAt - 2000)
    expect(old).toEqual([])
    process.stdout.write(
      `everysec, SIGKILL: ${lost.length} of ${sent.confirmedAt.size} confirmed messages lost\n`,
    )
  })

  test('without an append-only file has lost everything, which has to be allowed first', async () => {
    await using server = await openPrivateRedis({ fsync: 'off' })
    const warnings: string[] = []
    const logger = {
      debug() {},
      info() {},
      error() {},
      warn: (_: object, text: string) => void warnings.push(text),
    }
    {
      await using refusing = redis({ url: server.url, ...hasty })
      await expect(refusing.subscribe('flood', [])).rejects.toMatchObject({
        code: 'MERSAL_INVALID_OPTIONS',
        message: expect.stringMatching(/redis\.allowLoss: .*appendonly no.*CONFIG SET/) as string,
      })
    }
    await using sender = redis({ url: server.url, ...hasty, allowLoss: true, logger })
    await sender.subscribe('flood', ['flood.event'])
    const sent = nothingSent()
    await sendUntilConfirmed(sender, numbered(20, 'flood', 'flood.event'), sent)
    expect(warnings).toContainEqual(expect.stringMatching(/keeps nothing on its disk/))
    await server.signal('SIGKILL')
    await server.start()
    expect(await streamOf(server.url, '{mersal}:queue:flood')).toEqual([])
  })
})
