import { readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import type { OutboxOverview } from '../../src/core/operations.ts'
import { openBench } from './stores.ts'

const read = (path: string): string =>
  readFileSync(new URL(`../../${path}`, import.meta.url), 'utf8')
/** The rows of the table of names in docs/cli.md. */
const rows = read('docs/cli.md')
  .split('| `mersal status` | `--json` | API of the dashboard | metric |\n|---|---|---|---|\n')[1]!
  .split('\n\n')[0]!
  .trim()
  .split('\n')
  .map((row) => row.split('|').map((cell) => cell.trim().replaceAll('`', '')))

test('the names of figures in docs/cli.md are those of each place', async () => {
  expect(rows).toHaveLength(4)
  await using bench = await openBench('sqlite')
  const text = (await bench.project.mersal(['status'])).stdout
  const { stdout } = await bench.project.mersal(['status', '--json', '--quick'])
  const json = JSON.parse(stdout) as OutboxOverview
  const api = read('src/dashboard/api/overview.ts')
  const metrics = read('docs/reference/metrics.md')
  const status = text + read('src/cli/status/status.ts')
  for (const [, line, field, ofApi, metric] of rows) {
    expect(status).toContain(line)
    expect(Object.keys(json)).toContain(field)
    expect(api).toMatch(new RegExp(`\\b${ofApi}: number`))
    expect(metrics).toContain(`\`${metric}\``)
  }
})
