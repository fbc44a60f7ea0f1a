import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, describe, expect, test } from 'vitest'
import { serverAnswers } from '../postgres/database.ts'
import { rabbitIsHere } from '../rabbitmq/broker.ts'
import type { Delays } from './family.ts'
import type { Result } from './input.ts'
import type { Adapter } from './places.ts'
import { rowsOf, tableOf } from './table.ts'

const root = fileURLToPath(new URL('../..', import.meta.url))
const postgres = await serverAnswers()
const rabbit = postgres && (await rabbitIsHere())

interface Report {
  readonly results: readonly Result[]
  readonly longest: Delays
  readonly leaked: readonly string[]
}

const all: Result[] = []
const delays: Delays = {}

/**
 * The family in a process of its own: nothing that is thrown, printed or blocked there can hide.
 */
async function judge(
  adapters: readonly Adapter[],
  flags: readonly string[] = [],
  options: readonly string[] = [],
): Promise<Report> {
  const folder = mkdtempSync(join(tmpdir(), 'mersal-inputs-'))
  try {
    const file = join(folder, 'report.json')
    const main = join(root, 'test/inputs/main.ts')
    const args = [...flags, main, ...adapters, '--json', file, ...options]
    const child = spawn(process.execPath, args, { cwd: root, stdio: ['ignore', 'pipe', 'pipe'] })
    let text = ''
    for (const stream of [child.stdout, child.stderr])
      stream.setEncoding('utf8').on('data', (part: string) => void (text += part))
    const [code] = (await once(child, 'close')) as [number | null]
    expect(text.split('\n').filter((line) => /^(?:FAILED|LEAKED)/.test(line))).toEqual([])
    expect(code, text).toBe(0)
    expect(text).not.toContain('canary-')
    return JSON.parse(readFileSync(file, 'utf8')) as Report
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

async function sound(
  adapters: readonly Adapter[],
  flags?: readonly string[],
  options?: readonly string[],
): Promise<void> {
  const { results, longest } = await judge(adapters, flags, options)
  if (flags !== undefined) return
  all.push(...results)
  for (const [generator, ms] of Object.entries(longest))
    delays[generator] = Math.max(delays[generator] ?? 0, ms)
}

describe.concurrent('every bad input is refused with a code and a field, or comes back byte for byte', {
  timeout: 600_000,
}, () => {
  test('with store and queue in memory, and with SQLite', () => sound(['memory', 'sqlite']))

  test('with Node as hard as it gets: no __proto__, no code from strings', () =>
    sound(
      ['memory', 'sqlite'],
      ['--disable-proto=throw', '--disallow-code-generation-from-strings'],
      // The program runs in processes of its own, which do not have these flags. G8 has a call with
      // them.
      ['--without', 'G8'],
    ))

  test.skipIf(!postgres)('with store and queue in PostgreSQL', () =>
    sound(['postgres', 'postgres straight']),
  )

  test.skipIf(!rabbit)('with RabbitMQ', () => sound(['rabbitmq']))

  afterAll(() => {
    process.stderr.write(
      `\n${tableOf(all)}longest time in which nothing else ran, ms: ${JSON.stringify(delays)}\n`,
    )
    if (process.env['MERSAL_UPDATE_REPORTS'] !== 'true') return
    mkdirSync(join(root, 'docs/reliability'), { recursive: true })
    const different = new Set(all.map(({ generator, input }) => `${generator} ${input}`)).size
    const report = {
      node: process.version,
      inputs: different,
      judged: all.length,
      rows: rowsOf(all),
    }
    writeFileSync(
      join(root, 'docs/reliability/inputs.json'),
      `${JSON.stringify(report, null, 2)}\n`,
    )
  })
})
