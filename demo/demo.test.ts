import { spawnSync } from 'node:child_process'
import { userInfo } from 'node:os'
import { fileURLToPath } from 'node:url'
import { describe, expect, test } from 'vitest'
import { demo, lines, row } from './run-demo.ts'

/** A user without any rights: only root may become one, and only where it may read these files. */
const nobody = { uid: 65_534, gid: 65_534 }
const canBeNobody =
  userInfo().uid === 0 &&
  spawnSync(process.execPath, ['--check', fileURLToPath(import.meta.url)], nobody).status === 0

describe('the demo', { timeout: 240_000 }, () => {
  test('keeps every promise with the outbox and breaks some without', async () => {
    const input = [
      ...lines.slice(0, 80),
      '{"name": "cut',
      '',
      '{"name": 7, "programme": "\u001b[2J"}',
      ...lines.slice(80),
    ].join('\n')
    const { code, out } = await demo(['--input', '-', '--seed', '5'], input, {
      fromSources: true,
    })

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

  test.runIf(canBeNobody)('keeps every promise for a user without any rights', async () => {
    const { code, out, err } = await demo(['--input', '-'], lines.slice(0, 120).join('\n'), {
      as: nobody,
    })
    expect(err).toBe('')
    expect(out).toContain('Every promise of the outbox was kept.')
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
