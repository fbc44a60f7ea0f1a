import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { build } from 'esbuild'
import { peakMegabytes } from '../measure.ts'
import type { Done, RelayJob } from './job.ts'

/** A relay in a process of its own, so that its memory and its CPU can be told from the rest. */
export interface RelayProcess extends AsyncDisposable {
  readonly pid: number
  /** Lets it begin; with `expected` in the job, resolves when everything is published and retired. */
  drain(): Promise<Done>
  /** Lets it begin, and returns when it has. */
  follow(): Promise<void>
  readonly peakMegabytes: number
}

/** With `MERSAL_BENCH_CPU_PROFILE=<folder>` each relay process leaves a profile there. */
function nodeOptions(): string[] {
  const folder = process.env['MERSAL_BENCH_CPU_PROFILE']
  return folder === undefined ? [] : ['--cpu-prof', `--cpu-prof-dir=${folder}`]
}

/** As plain JavaScript, as the package is published: reading TypeScript would cost each process 40 MB and half a second. */
async function bundle(): Promise<string> {
  const outfile = fileURLToPath(new URL('../results/relay.mjs', import.meta.url))
  const entry = fileURLToPath(new URL('main.ts', import.meta.url))
  await build({ entryPoints: [entry], outfile, bundle: true, packages: 'external', platform: 'node', format: 'esm', sourcemap: 'inline' })
  return outfile
}

let bundled: Promise<string> | undefined

export async function startRelay(job: RelayJob): Promise<RelayProcess> {
  const child = fork(await (bundled ??= bundle()), [JSON.stringify(job)], { execArgv: nodeOptions() })
  const exited = once(child, 'exit')
  await answer(child, job)
  const pid = child.pid as number
  const go = async (): Promise<unknown> => {
    child.send('go')
    return await answer(child, job)
  }
  return {
    pid,
    drain: async () => (await go()) as Done,
    follow: async () => void (await go()),
    get peakMegabytes() {
      return peakMegabytes(pid)
    },
    async [Symbol.asyncDispose]() {
      if (child.connected) child.disconnect()
      await exited
    },
  }
}

/** The next message of the child; its end is an error. */
async function answer(child: ChildProcess, job: RelayJob): Promise<unknown> {
  const over = new AbortController()
  const ended = once(child, 'exit', { signal: over.signal }).then(([code]: unknown[]) => {
    throw new Error(`the relay '${job.kind}' ended with ${String(code)}`)
  })
  try {
    const [message] = (await Promise.race([once(child, 'message', { signal: over.signal }), ended])) as unknown[]
    return message
  } finally {
    over.abort()
    ended.catch(() => {})
  }
}
