import { randomUUID } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { message, openBench } from './stores.ts'

const read = (path: string): string =>
  readFileSync(new URL(`../../${path}`, import.meta.url), 'utf8')
/** The rows of the table of names in docs/cli.md. */
const rows = read('docs/cli.md')
  .split('| `mersal status` | `--json` | API of the dashboard | metric |\n|---|---|---|---|\n')[1]!
  .split('\n\n')[0]!
  .trim()
  .split('\n')
  .map((row) => row.split('|').map((cell) => cell.trim().replaceAll('`', '')))

test('the names of figures in docs/cli.md are those of each place', {
  timeout: 60_000,
}, async () => {
  expect(rows).toHaveLength(4)
  await using bench = await openBench('sqlite')
  await bench.send(message('a'), message('b'))
  // One was refused, and both wait.
  const token = randomUUID()
  const [row] = await bench.store.outbox.claim({ limit: 1, claimMs: 60_000, token })
  const { position } = row!
  await bench.store.outbox.settle([
    { kind: 'retry', position, token, delayMs: 0, error: new Error('no') },
  ])
  const text = (await bench.project.mersal(['status'])).stdout
  const { stdout } = await bench.project.mersal(['status', '--json', '--quick'])
  const json = JSON.parse(stdout) as object
  const running = bench.project.start(['dashboard', '--port', '0'])
  const [, address = '', key] = await running.says(/(http:\/\/\S+:\d+)\/#token=(\S+)\n/)
  const headers = { authorization: `Bearer ${key}` }
  const answer = (await (await fetch(`${address}/api/overview`, { headers })).json()) as {
    sources: readonly { counts: object }[]
  }
  expect((await running.signal('SIGTERM')).code).toBe(0)
  const api = answer.sources[0]!.counts
  const metrics = read('docs/reference/metrics.md')
  for (const [, line, field, ofApi, metric] of rows) {
    expect(text).toMatch(new RegExp(`\\b${line} \\d`))
    expect(Object.keys(json)).toContain(field)
    expect(Object.keys(api)).toContain(ofApi)
    expect(metrics).toContain(`\`${metric}\``)
  }
})
