/** A process of one of the builds. */
import { type ChildProcess, execFile, fork } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, writeFileSync } from 'node:fs'
import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import type { Address, Letter, Order, Report, WorkerPlan } from './plan.ts'
import type { Place } from './places/place.ts'

const root = join(import.meta.dirname, '../..')
const execArgv = ['--disable-warning=ExperimentalWarning']

export interface Program extends AsyncDisposable {
  /** Messages that the broker confirmed to this process. */
  readonly published: () => number
  readonly handled: () => number
  /** Resolves when it has carried out the order; `write` ends with the next `quiet`. */
  order(order: Exclude<Order, 'letters'>): Promise<void>
  letters(): Promise<readonly Letter[]>
  /** In good order; throws if the process says that it was not. */
  stop(): Promise<void>
}

export async function start(
  source: string,
  address: Address,
  role: WorkerPlan['role'],
): Promise<Program> {
  const plan: WorkerPlan = { source, address, role }
  const child = fork(join(import.meta.dirname, 'worker.ts'), [JSON.stringify(plan)], {
    execArgv,
    stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
  })
  let said = ''
  child.stderr?.setEncoding('utf8').on('data', (text: string) => (said += text))
  const ended = once(child, 'close').then(([code]) => Number(code ?? -1))
  const failed = ended.then((code): never => {
    throw new Error(`the ${role} of ${source} ended with ${code}: ${said}`)
  })
  failed.catch(() => {})
  let counts = { published: 0, handled: 0 }
  child.on('message', (report: Report) => {
    if (report.kind === 'counts') counts = report
  })
  const report = (wanted: (report: Report) => boolean): Promise<Report> =>
    Promise.race([heard(child, wanted), failed])
  const carryOut = async (order: Order): Promise<Report> => {
    const done = report((given) => given.kind === 'done' && given.order === order)
    child.send(order)
    return await done
  }
  await report(({ kind }) => kind === 'ready')
  return {
    published: () => counts.published,
    handled: () => counts.handled,
    order: async (order) => void (await carryOut(order)),
    async letters() {
      const given = await carryOut('letters')
      return given.kind === 'done' ? (given.letters ?? []) : []
    },
    async stop() {
      child.kill('SIGTERM')
      const code = await ended
      if (code !== 0) throw new Error(`the ${role} of ${source} stopped with ${code}: ${said}`)
    },
    async [Symbol.asyncDispose]() {
      child.kill('SIGKILL')
      await ended
    },
  }
}

function heard(child: ChildProcess, wanted: (report: Report) => boolean): Promise<Report> {
  return new Promise((resolve) => {
    const listen = (report: Report): void => {
      if (!wanted(report)) return
      child.off('message', listen)
      resolve(report)
    }
    child.on('message', listen)
  })
}

/** `mersal migrate` of the present build, as an operator runs it. Returns what it printed. */
export async function migrate({ address, config }: Place): Promise<string> {
  // In the project, so that its packages are found.
  const folder = mkdtempSync(join(root, 'node_modules/.upgrade-'))
  try {
    const file = join(folder, 'mersal.config.mjs')
    writeFileSync(file, config)
    const program = join(root, 'src/cli/main.ts')
    const { stdout } = await promisify(execFile)(
      process.execPath,
      [...execArgv, program, 'migrate', '--config', file],
      { env: { ...process.env, UPGRADE_DATABASE: address.database } },
    )
    return stdout
  } finally {
    await rm(folder, { recursive: true })
  }
}
