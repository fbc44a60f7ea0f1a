import { fork } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Order, Plan, Report } from './plan.ts'

/**
 * A process of the scenario, and what it has told so far. Disposing it kills it, also when it is
 * stopped.
 */
export interface Worker extends AsyncDisposable {
  readonly name: string
  readonly reports: readonly Report[]
  /** Resolves to the exit code, or the name of the signal. */
  readonly ended: Promise<number | string>
  signal(name: 'SIGSTOP' | 'SIGCONT' | 'SIGKILL'): void
  order(order: Order): void
  /**
   * Waits for a report; rejects when the process ends before, or after this time. `from`: index of
   * the first one that counts.
   */
  told(
    wanted: (report: Report) => boolean,
    options: { readonly withinMs: number; readonly from?: number },
  ): Promise<Report>
}

export function startWorker(plan: Plan): Worker {
  const child = fork(join(import.meta.dirname, 'worker.ts'), [JSON.stringify(plan)], {
    execArgv: ['--disable-warning=ExperimentalWarning'],
    stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
  })
  const reports: Report[] = []
  let errors = ''
  // Replaced whenever something has happened.
  let news = Promise.withResolvers<void>()
  const happened = (): void => {
    news.resolve()
    news = Promise.withResolvers()
  }
  child.on('message', (report: Report) => {
    reports.push(report)
    happened()
  })
  child.on('close', happened)
  child.stderr?.on('data', (chunk: Buffer) => (errors = (errors + chunk.toString()).slice(-4000)))
  const ended = once(child, 'close').then(([code, signal]) => (code ?? signal) as number | string)
  return {
    name: plan.name,
    reports,
    ended,
    signal: (name) => child.kill(name),
    order: (order) => child.send(order),
    async told(wanted, { withinMs, from = 0 }) {
      const late = sleep(withinMs, 'late' as const, { ref: false })
      for (let index = from; ; ) {
        const report = reports[index]
        if (report !== undefined && wanted(report)) return report
        if (report !== undefined) index += 1
        else if (child.exitCode !== null || child.signalCode !== null)
          throw new Error(`${plan.name} has ended: ${errors}`)
        else if ((await Promise.race([news.promise, late])) === 'late')
          throw new Error(`${plan.name} is late: ${errors}`)
      }
    },
    async [Symbol.asyncDispose]() {
      child.kill('SIGKILL')
      await ended
    },
  }
}
