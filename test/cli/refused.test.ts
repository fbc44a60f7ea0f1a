import { randomUUID } from 'node:crypto'
import { describe, expect, test } from 'vitest'
import { type Bench, type Kind, message, openBench, kindsHere } from './stores.ts'

const kinds: readonly Kind[] = await kindsHere()

async function refuse(bench: Bench, text: string): Promise<void> {
  const token = randomUUID()
  const rows = await bench.store.outbox.claim({ limit: 10, claimMs: 60_000, token })
  const error = new Error(text, { cause: new Error('amqp://shop:hunter2@broker is shut') })
  await bench.store.outbox.settle(
    rows.map(({ position }) => ({ kind: 'retry', position, token, delayMs: 0, error })),
  )
}

describe.each(kinds)('mersal refused on %s', { timeout: 240_000 }, (kind) => {
  test('lists and shows what is tried again, and a dead letter shows the same attempts', async () => {
    await using bench = await openBench(kind)
    const { mersal } = bench.project
    expect(await mersal(['refused', 'list'])).toMatchObject({
      code: 0,
      stdout: 'no open message was tried in vain\n',
    })
    await bench.send(message('a', { partitionKey: 'k' }), message('b'))
    await refuse(bench, 'first')
    await refuse(bench, 'second')
    const listed = await mersal(['refused', 'list', '--json', '--limit', '1'])
    expect(listed.stderr).toContain('there may be more: --after ')
    const [one] = JSON.parse(listed.stdout) as { key: string; history: { at: string }[] }[]
    expect(one).toMatchObject({
      partitionKey: 'k',
      attempts: 2,
      place: 'default/queue/orders',
      history: [
        { attempt: 1, code: 'none', error: expect.stringMatching(/first; caused by/) as string },
        { attempt: 2, error: expect.stringMatching(/second/) as string },
      ],
    })
    expect(one?.history[0]?.at).toMatch(/^\d{4}-.*Z$/)
    const rest = await mersal(['refused', 'list', '--after', one!.key])
    expect(rest.stdout.trim().split('\n')).toHaveLength(2)
    const shown = await mersal(['refused', 'show', one!.key])
    expect(shown.stdout).toMatch(/attempt 1 +\d{4}-\S+Z {2}Error: first; caused by/)
    await bench.kill()
    const [letter] = JSON.parse((await mersal(['dead', 'list', '--json'])).stdout) as {
      key: string
      history: object[]
    }[]
    expect(letter?.history).toMatchObject([{ attempt: 1 }, { attempt: 2 }, { attempt: 3 }])
    const dead = await mersal(['dead', 'show', letter!.key])
    expect(dead.stdout).toMatch(/attempt 3 +\d{4}-\S+Z {2}Error: it was refused/)
    for (const { stdout } of [listed, shown, dead]) expect(stdout).not.toContain('hunter2')
    expect(await mersal(['refused', 'show', one!.key])).toMatchObject({
      code: 1,
      stderr: expect.stringMatching(/^mersal: there is no open message '\d+'/) as string,
    })
  })
})
