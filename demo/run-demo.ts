/** Runs the demo as a program, for its tests. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { onTestFinished } from 'vitest'

const sources = join(import.meta.dirname, 'main.ts')
/** Bundled once for a run of all tests (test/run/programs.ts): its processes start in half the time. */
const built = process.env['MERSAL_TEST_PROGRAMS']
const bundle = built === undefined ? sources : join(built, 'demo/main.js')

interface Circumstances {
  /** User and group that it runs as. */
  readonly as?: { readonly uid: number; readonly gid: number }
  readonly temporary?: string
  /** Runs it from its sources, as `npm run demo` does. */
  readonly fromSources?: boolean
  /** Called with each piece that it prints. */
  readonly onOutput?: (piece: string) => void
}

export async function demo(
  args: readonly string[],
  input = '',
  { as, temporary, fromSources = false, onOutput }: Circumstances = {},
): Promise<{ code: number | null; out: string; err: string }> {
  const env = temporary === undefined ? process.env : { ...process.env, TMPDIR: temporary }
  const command = ['--no-warnings', fromSources ? sources : bundle, ...args]
  const child = spawn(process.execPath, command, { stdio: 'pipe', env, ...as })
  onTestFinished(() => void child.kill('SIGTERM')) // then it removes what it has started
  child.stdin.end(input)
  if (onOutput !== undefined) child.stdout.on('data', (piece: Buffer) => onOutput(String(piece)))
  const [out, err, [code]] = await Promise.all([
    text(child.stdout),
    text(child.stderr),
    once(child, 'exit'),
  ])
  return { code: code as number | null, out, err }
}

/** Value of a row of the table, by column. */
export function row(out: string, label: string): number[] {
  const line = out.split('\n').find((each) => each.trim().startsWith(label)) ?? ''
  return (line.match(/\d+/g) ?? []).map(Number)
}

const names = [
  'Anna',
  '',
  "O'Brien",
  'محمد',
  '長'.repeat(2000),
  '\u001b[31mred',
  'Anna',
  'nul\u0000inside',
]
export const lines = Array.from({ length: 160 }, (_, index) =>
  JSON.stringify({ name: names[index % names.length], programme: 'Law' }),
)
