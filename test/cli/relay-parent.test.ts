import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { describe, expect, test } from 'vitest'
import { openBench } from './stores.ts'

const program = fileURLToPath(new URL('../../src/cli/main.ts', import.meta.url))
/** Starts the relay as npm does, with the streams of its own, and takes no notice of its end. */
const starter = `require('node:child_process').spawn(process.argv[1], process.argv.slice(2), { stdio: 'inherit', detached: process.env.OWN_SESSION === '1' }); setInterval(() => {}, 1000)`

interface Started extends AsyncDisposable {
  readonly npm: ChildProcess
  readonly pid: number
  readonly says: (text: string) => Promise<void>
  /** Resolves when everybody who holds the stream has ended. */
  readonly closed: Promise<unknown>
}

async function startRelay(
  folder: string,
  command: readonly string[],
  env: Readonly<Record<string, string>>,
): Promise<Started> {
  const npm = spawn(process.execPath, ['-e', starter, ...command], {
    cwd: folder,
    env: { PATH: process.env['PATH'], ...env },
    stdio: ['ignore', 'ignore', 'pipe'],
  })
  let text = ''
  npm.stderr.setEncoding('utf8').on('data', (more: string) => (text += more))
  const closed = once(npm.stderr, 'close')
  const says = async (wanted: string): Promise<void> => {
    while (!text.includes(wanted))
      await Promise.race([
        once(npm.stderr, 'data'),
        closed.then(() => Promise.reject(new Error(text))),
      ])
  }
  await says("relay 'relay' runs")
  const pid = Number(/"pid":(\d+)/.exec(text)?.[1])
  return {
    npm,
    pid,
    says,
    closed,
    [Symbol.asyncDispose]: async () => {
      npm.kill('SIGKILL')
      try {
        process.kill(pid, 'SIGKILL')
      } catch {
        // It has ended by itself.
      }
      await closed
    },
  }
}

const direct = [process.execPath, program, 'relay', '--no-http']
const npm = { npm_command: 'exec' }

describe.runIf(process.platform === 'linux')(
  'a relay whose starter ends without a word',
  { timeout: 240_000 },
  () => {
    test.each([
      ['npm itself', direct],
      // 'true' keeps the shell from becoming the program.
      ['a shell of npm', ['sh', '-c', `"${process.execPath}" "${program}" relay --no-http; true`]],
    ])('stops gracefully if that was %s', async (_, command) => {
      await using bench = await openBench('sqlite')
      await using relay = await startRelay(bench.project.folder, command, npm)
      relay.npm.kill('SIGKILL')
      await relay.says('the end of npm')
      await relay.says('relay stopped; everything was settled')
      await relay.closed
    })

    test.each([
      ['it was not npm', direct, {}],
      ['it is told to', [...direct, '--outlive-npm'], npm],
      ['it has a session of its own', direct, { ...npm, OWN_SESSION: '1' }],
    ])('goes on if %s', async (_, command, env) => {
      await using bench = await openBench('sqlite')
      await using relay = await startRelay(bench.project.folder, command, env)
      relay.npm.kill('SIGKILL')
      await once(relay.npm, 'exit')
      await new Promise((resolve) => setTimeout(resolve, 2000))
      expect(process.kill(relay.pid, 0)).toBe(true)
      process.kill(relay.pid, 'SIGTERM')
      await relay.says('"signal":"SIGTERM"')
    })
  },
)
