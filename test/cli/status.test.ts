import { describe, expect, test } from 'vitest'
import { type Kind, message, openBench, kindsHere } from './stores.ts'

const kinds: readonly Kind[] = await kindsHere()

describe.each(kinds)('mersal status on %s', { timeout: 240_000 }, (kind) => {
  test('tells what waits, by destination and by key', async () => {
    await using bench = await openBench(kind)
    await bench.send(message('a', { partitionKey: 'k1' }))
    await bench.kill({ onDead: 'block-key' })
    await bench.send(
      message('b', { partitionKey: 'k1' }),
      message('c', { queue: 'billing' }),
      message('d', { delayMs: 60_000 }),
    )
    const { code, stdout } = await bench.project.mersal(['status', '--json', '--quick'])
    expect(code).toBe(0)
    const seen = JSON.parse(stdout) as Record<string, unknown>
    expect(seen).toMatchObject({
      store: kind,
      pending: 3,
      due: 2,
      claimed: 0,
      dead: 1,
      kept: 0,
      rates: null,
      pauses: [],
    })
    expect(seen['destinations']).toMatchObject([
      { destination: 'default/queue/billing', pending: 1, due: 1, dead: 0 },
      { destination: 'default/queue/orders', pending: 2, due: 1, dead: 1 },
    ])
    expect(seen['keys']).toMatchObject([{ key: 'k1', pending: 1, blocked: true }])
    const text = await bench.project.mersal(['status'])
    expect(text.stdout).toMatch(/pending 3 \(due 2, claimed 0\), dead 1, kept 0/)
    expect(text.stdout).toMatch(/added 0\/s, left 0\/s/)
    expect(text.stdout).toMatch(/k1 .*blocked by a dead letter/)
  })

  test('counts dead letters of a destination for which nothing waits', async () => {
    await using bench = await openBench(kind)
    await bench.send(message('a'))
    await bench.kill()
    const { stdout } = await bench.project.mersal(['status', '--json', '--quick'])
    expect(JSON.parse(stdout)).toMatchObject({
      pending: 0,
      dead: 1,
      destinations: [{ destination: 'default/queue/orders', pending: 0, dead: 1 }],
    })
  })

  test('watches until it is told to stop, one JSON object per look', async () => {
    await using bench = await openBench(kind)
    const watching = bench.project.start(['status', '--watch', '--json', '--interval', '1'])
    await watching.says(/"pending":0/)
    await bench.send(message('a'), message('b'))
    await watching.says(/"pending":2.*\n/)
    const { code, stdout } = await watching.signal('SIGINT')
    expect(code).toBe(0)
    const looks = stdout
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as { pending: number; rates: { added: number } | null })
    expect(looks[0]).toMatchObject({ pending: 0, rates: null })
    const after = looks.find(({ pending }) => pending === 2)
    expect(after?.rates?.added).toBeGreaterThan(0)
  })
})
