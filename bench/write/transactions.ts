import { cpuSeconds, type Sample } from '../measure.ts'

export interface Writing {
  readonly connections: number
  readonly seconds: number
  /** Name of the database in the figures, and the process whose descendants it is. */
  readonly database: string
  readonly pid: number
}

/** All connections at once for this number of seconds. `done`: transactions. */
export async function writeFor(
  { connections, seconds: long, database, pid }: Writing,
  transact: (number: number) => Promise<unknown>,
): Promise<Pick<Sample, 'rate' | 'cpu'> & { readonly done: number }> {
  const before = cpuSeconds(pid)
  const own = process.cpuUsage()
  const started = performance.now()
  const until = started + long * 1000
  let done = 0
  const connection = async (): Promise<void> => {
    while (performance.now() < until) await transact((done += 1))
  }
  await Promise.all(Array.from({ length: connections }, connection))
  const seconds = (performance.now() - started) / 1000
  const { user, system } = process.cpuUsage(own)
  const per100k = 100_000 / done
  const cpu = {
    node: ((user + system) / 1e6) * per100k,
    [database]: (cpuSeconds(pid) - before) * per100k,
  }
  return { rate: done / seconds, cpu, done }
}
