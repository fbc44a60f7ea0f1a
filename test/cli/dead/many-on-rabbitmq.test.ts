import { connect } from 'amqplib'
import { describe, expect, test } from 'vitest'
import { openVhost, type Place, rabbitIsHere } from '../../rabbitmq/broker.ts'
import { plainClient } from '../../rabbitmq/plain-client.ts'
import { openProject, type Project, sourceUrl, sqliteConfig } from '../project.ts'

const QUEUE = 'orders'
const DEAD = 'orders.dead'

function projectOn({ url }: Place): Project {
  return openProject(
    `import { rabbitmq } from '${sourceUrl('rabbitmq.ts')}'\n${sqliteConfig().replace(/transport: .*/, `transport: rabbitmq({ url: '${url}', newQueuePauseMs: 0 }),`)}`,
  )
}

/** Dead letters as consumers leave them, and a queue without a consumer to which they go back. */
async function bury(place: Place, count: number, type: 'classic' | 'quorum'): Promise<void> {
  const connection = await connect(place.url)
  const channel = await connection.createConfirmChannel()
  await channel.assertQueue(QUEUE, { durable: true, arguments: { 'x-queue-type': type } })
  await channel.assertQueue(DEAD, { durable: true, arguments: { 'x-queue-type': type } })
  for (let n = 0; n < count; n++) {
    const headers = { 'x-mersal-reason': n % 2 === 0 ? 'rejected' : 'invalid' }
    channel.sendToQueue(DEAD, Buffer.from(String(n)), {
      persistent: true,
      messageId: String(n),
      type: 't',
      headers,
    })
  }
  await channel.waitForConfirms()
  await connection.close()
}

async function bodies(place: Place, queue: string): Promise<number[]> {
  await using client = await plainClient(place.url)
  return (await client.drain(queue)).map(({ content }) => Number(content.toString()))
}

const numbers = (count: number): number[] => Array.from({ length: count }, (_, n) => n)

describe.runIf(await rabbitIsHere())('many dead letters on RabbitMQ', { timeout: 240_000 }, () => {
  test.each(['classic', 'quorum'] as const)(
    'are retried in one pass, in their order, and counted right, from a %s queue',
    async (type) => {
      await using place = await openVhost()
      await using project = projectOn(place)
      await bury(place, 1000, type)
      const all = ['--queue', QUEUE, '--all']
      expect(await project.mersal(['dead', 'retry', ...all])).toMatchObject({
        code: 2,
        stderr: expect.stringContaining('would retry 1000 dead letters') as string,
      })
      const discarded = await project.mersal([
        'dead',
        'discard',
        ...all,
        '--reason',
        'invalid',
        '--yes',
      ])
      expect(discarded).toMatchObject({ code: 0, stdout: 'discarded 500 of 500\n', stderr: '' })
      expect(await project.mersal(['dead', 'retry', ...all, '--yes'])).toMatchObject({
        code: 0,
        stdout: 'retried 500 of 500\n',
      })
      expect(await bodies(place, DEAD)).toEqual([])
      const found = await bodies(place, QUEUE)
      // A quorum queue gives back in any order what was only looked at.
      expect(type === 'classic' ? found : found.toSorted((a, b) => a - b)).toEqual(
        numbers(1000).filter((n) => n % 2 === 0),
      )
    },
  )

  test('are there once each after a retry that was killed half-way and run again, but for those that were on their way', async () => {
    await using place = await openVhost()
    await using project = projectOn(place)
    await bury(place, 3000, 'classic')
    const retry = ['dead', 'retry', '--queue', QUEUE, '--all', '--yes']
    const first = project.start(retry)
    await using client = await plainClient(place.url)
    while ((await client.channel.checkQueue(QUEUE)).messageCount < 100);
    expect((await first.signal('SIGKILL')).code).toBeNull()
    const again = await project.mersal(retry)
    expect(again).toMatchObject({ code: 0, stderr: '' })
    const [, changed, asked] = /^retried (\d+) of (\d+)\n$/.exec(again.stdout)!.map(Number)
    expect(changed).toBe(asked)
    const found = await bodies(place, QUEUE)
    expect([...new Set(found)].toSorted((a, b) => a - b)).toEqual(numbers(3000))
    expect(await bodies(place, DEAD)).toEqual([])
    // The window of the pass bounds the copies.
    expect(found.length - 3000).toBeLessThanOrEqual(200)
  })

  test('stay when they cannot go back, and the program says how far it came', async () => {
    await using place = await openVhost()
    await using project = projectOn(place)
    await bury(place, 20, 'classic')
    await using client = await plainClient(place.url)
    await client.channel.deleteQueue(QUEUE)
    const ended = await project.mersal(['dead', 'retry', '--queue', QUEUE, '--all', '--yes'])
    expect(ended).toMatchObject({ code: 1, stdout: '' })
    expect(ended.stderr).toMatch(
      /^mersal: retried 0, then it broke off; the others are still dead letters, so run it again: .*nobody has declared the queue/,
    )
    expect((await bodies(place, DEAD)).toSorted((a, b) => a - b)).toEqual(numbers(20))
  })

  test('are listed to the end, or to the limit, and the queue keeps them in their order', async () => {
    await using place = await openVhost()
    await using project = projectOn(place)
    await bury(place, 300, 'classic')
    const list = async (...args: string[]): Promise<{ key: string; id: string }[]> =>
      JSON.parse(
        (await project.mersal(['dead', 'list', '--queue', QUEUE, '--json', ...args])).stdout,
      ) as { key: string; id: string }[]
    const all = await list('--limit', '1000000')
    expect(all.map(({ id }) => Number(id))).toEqual(numbers(300))
    const some = await list('--limit', '50', '--after', all[99]!.key)
    expect(some.map(({ id }) => Number(id))).toEqual(numbers(300).slice(100, 150))
    expect(await project.mersal(['dead', 'show', all[250]!.key, '--queue', QUEUE])).toMatchObject({
      stdout: expect.stringMatching(/id +250\n/) as string,
    })
    expect(await bodies(place, DEAD)).toEqual(numbers(300))
  })

  test('of a queue that does not exist are told so, with the name that was meant', async () => {
    await using place = await openVhost()
    await using project = projectOn(place)
    const asked = await project.mersal(['dead', 'list', '--queue', 'nonexist'])
    expect(asked).toMatchObject({ code: 1, stdout: '' })
    expect(asked.stderr).toMatch(
      /^mersal: there is no queue 'nonexist' on transport 'default'; no queue is known there\n$/,
    )
  })
})
