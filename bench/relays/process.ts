import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { bundled } from '../bundle.ts'
import { peakMegabytes } from '../measure.ts'
import type { Done, Progress, RelayJob } from './job.ts'

/** A relay in a process of its own, so that its memory and its CPU can be told from the rest. */
export interface RelayProcess extends AsyncDisposable {
  readonly pid: number
  /**
   * Lets it begin; with `expected` in the job, resolves when everything is published and retired.
   */
  drain(): Promise<Done>
  /** Lets it begin, and returns when it has. */
  follow(): Promise<void>
  readonly peakMegabytes: number
  /** How many messages it has moved, of a job whose messages are arriving. */
  readonly moved: number
}

/** As `docs/relay.md` advises where memory is short. */
const MEMORY = '--max-semi-space-size=8'

/** With `MERSAL_BENCH_CPU_PROFILE=<folder>` each relay process leaves a profile there. */
function nodeOptions(): string[] {
  const folder = process.env['MERSAL_BENCH_CPU_PROFILE']
  return folder === undefined ? [MEMORY] : [MEMORY, '--cpu-prof', `--cpu-prof-dir=${folder}`]
}

/** A relay that neither finishes nor fails ends the run as well. */
const LONGEST_SILENCE_MS = 300_000

let program: Promise<string> | undefined

export async function startRelay(job: RelayJob): Promise<RelayProcess> {
  const child = fork(
    await (program ??= bundled(new URL('main.ts', import.meta.url), 'relay')),
    [JSON.stringify(job)],
    {
      execArgv: nodeOptions(),
    },
  )
  const exited = once(child, 'exit')
  let moved = 0
  child.on('message', (message) => {
    if (isProgress(message)) ({ moved } = message)
  })
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
    get moved() {
      return moved
    },
    get peakMegabytes() {
      return peakMegabytes(pid)
    },
    async [Symbol.asyncDispose]() {
      if (child.connected) child.disconnect()
      await exited
    },
  }
}

const isProgress = (message: unknown): message is Progress =>
  typeof message === 'object' && message !== null && 'moved' in message

/** The next answer of the child; its end is an error. */
function answer(child: ChildProcess, job: RelayJob): Promise<unknown> {
  return new Promise((resolve, reject) => {
    const onMessage = (message: unknown): void => {
      if (isProgress(message)) return void silence.refresh()
      end()
      resolve(message)
    }
    const onExit = (code: number | null): void => {
      end()
      reject(new Error(`the relay '${job.kind}' ended with ${String(code)}`))
    }
    const onSilence = (): void => {
      end()
      child.kill()
      reject(
        new Error(
          `the relay '${job.kind}' has said nothing for ${LONGEST_SILENCE_MS / 60_000} minutes`,
        ),
      )
    }
    const silence = setTimeout(onSilence, LONGEST_SILENCE_MS)
    const end = (): void => {
      clearTimeout(silence)
      child.off('message', onMessage).off('exit', onExit)
    }
    child.on('message', onMessage).on('exit', onExit)
  })
}
