/**
 * `npm run check`: everything that must hold besides the tests. Builds the package first, which
 * also checks the types of `src`; then two lanes of steps go side by side, since half of them use
 * one core. All steps run, whatever fails.
 */
import { spawn } from 'node:child_process'
import { once } from 'node:events'

const first = 'build'
const lanes = [
  ['types:all', 'lint'],
  ['check:core', 'check:package', 'format:check', 'knip'],
] as const

const failed: string[] = []

/** Prints what the script printed, when it has ended. */
async function run(script: string): Promise<void> {
  const began = performance.now()
  const child = spawn('npm', ['run', '-s', script], { stdio: ['ignore', 'pipe', 'pipe'] })
  let text = ''
  for (const stream of [child.stdout, child.stderr])
    stream.setEncoding('utf8').on('data', (piece: string) => (text += piece))
  const [code] = (await once(child, 'close')) as [number | null]
  if (code !== 0) failed.push(script)
  const seconds = ((performance.now() - began) / 1000).toFixed(1)
  process.stdout.write(`${text}--- ${script}: ${code === 0 ? 'ok' : 'FAILED'}, ${seconds} s ---\n`)
}

async function inOrder(scripts: readonly string[]): Promise<void> {
  for (const script of scripts) await run(script)
}

await run(first)
// Without a build there is nothing to look at.
if (failed.length === 0) await Promise.all(lanes.map(inOrder))
if (failed.length > 0) {
  process.stderr.write(`failed: ${failed.join(', ')}\n`)
  process.exitCode = 1
}
