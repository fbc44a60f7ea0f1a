import { execFile } from 'node:child_process'
import { existsSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { expect, test } from 'vitest'
import { clusterAvailable } from '../postgres/cluster.ts'

const root = fileURLToPath(new URL('../../', import.meta.url))
const run = promisify(execFile)

interface Table {
  readonly head: readonly string[]
  readonly rows: readonly (readonly string[])[]
  readonly faults: readonly string[]
}

test.runIf(clusterAvailable() && existsSync(`${root}.git`))(
  'a section of the benchmark runs beside that of another revision, and shows both',
  { timeout: 120_000 },
  async () => {
    const { stdout } = await run(
      process.execPath,
      ['bench/main.ts', 'drain', '--base', 'HEAD', '--tiny', '--runs', '1', '--json'],
      { cwd: root },
    )
    const [table] = JSON.parse(stdout) as Table[]
    const commit = (await run('git', ['rev-parse', '--short', 'HEAD'], { cwd: root })).stdout.trim()
    expect(table?.head.slice(2, 5)).toEqual([commit, 'here', 'here / base'])
    expect(table?.faults).toEqual([])
    const rate = table?.rows.find((row) => row[0] === 'Mersal, 1,000 keys' && row[1] === 'rate')
    const [was, is] = [rate?.[2], rate?.[3]].map((cell) => Number(cell?.replaceAll(',', '')))
    expect(Number(rate?.[4])).toBeCloseTo(Number(is) / Number(was), 1)
  },
)
