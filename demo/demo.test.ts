import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { text } from 'node:stream/consumers'
import { fileURLToPath } from 'node:url'
import { describe, expect, test } from 'vitest'

const main = fileURLToPath(new URL('main.ts', import.meta.url))

async function demo(args: readonly string[], input = ''): Promise<{ code: number | null; out: string; err: string }> {
  const child = spawn(process.execPath, ['--no-warnings', main, ...args], { stdio: 'pipe' })
  child.stdin.end(input)
  const [out, err, [code]] = await Promise.all([text(child.stdout), text(child.stderr), once(child, 'exit')])
  return { code: code as number | null, out, err }
}

/** Value of a row of the table, by column. */
function row(out: string, label: string): number[] {
  const line = out.split('\n').find((each) => each.trim().startsWith(label)) ?? ''
  return (line.match(/\d+/g) ?? []).map(Number)
}

const names = ['Anna', '', "O'Brien", 'محمد', '長'.repeat(2000), '\u001b[31mred', 'Anna', 'nul\u0000inside']
const lines = Array.from({ length: 160 }, (_, index) => JSON.stringify({ name: names[index % names.length], programme: 'Law' }))

describe('the demo', { timeout: 60_000 }, () => {
  test('keeps every promise with the outbox and breaks some without', async () => {
    const input = [...lines.slice(0, 80), '{"name": "cut', '', '{"name": 7, "programme": "\u001b[2J"}', ...lines.slice(80)].join('\n')
    const { code, out } = await demo(['--input', '-', '--seed', '5'], input)

    expect(out).toContain('160 commands, 2 malformed lines')
    expect(out).toContain('line 81:')
    expect(out).toContain('line 83: Bad control character')
    expect(out, 'control characters are escaped').not.toContain('\u001b')
    expect(out).toContain('Every promise of the outbox was kept.')
    for (const label of ['lost events', 'phantom events', 'duplicate effects']) {
      const [naive, outbox] = row(out, label)
      expect(naive, `${label}, naive`).toBeGreaterThan(0)
      expect(outbox, `${label}, outbox`).toBe(0)
    }
    expect(row(out, 'dead letters')).toEqual([0, 2])
    expect(code).toBe(0)
  })

  test('explains itself', async () => {
    const { code, out } = await demo(['--help'])
    expect(code).toBe(0)
    expect(out).toContain('--input <file>')
  })

  test.for([
    [['--sed', '3'], "Unknown option '--sed'"],
    [['--seed', 'x'], '--seed expects a whole number'],
    [['--part', 'half'], "--part expects 'naive', 'outbox' or 'both'"],
    [['--input', '/does/not/exist'], 'no such file'],
    [['stray'], 'Unexpected argument'],
  ] as const)('refuses %j', async ([args, message]) => {
    const { code, err } = await demo(args)
    expect(code).toBe(2)
    expect(err).toContain(message)
  })
})
