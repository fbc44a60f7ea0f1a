/**
 * What the traps of brokers have in common whose clients write a little later: the moments around
 * messages and acknowledgements.
 */
import { at, awaited, connections } from './steps.ts'

/** A connection to a broker. */
export interface Line {
  /** Hands what was written so far to the system, so that the broker has it if the process dies. */
  flush(): void
  readonly socket: { destroy(error: Error): void } | undefined
}

/** Publishes that have no confirm yet. */
const open = new Set<unknown>()
let confirms = 0

/** A moment at which the broker has what has been written so far. */
export function here(line: Line, moment: string): void {
  if (awaited(moment)) line.flush()
  at(moment)
}

/** A message, or several that travel as one, is written. */
export function publishing(line: Line, ticket: unknown, write: () => void): void {
  if (open.size > 0) here(line, 'publish next:before')
  at('publish:before')
  write()
  const { socket } = line
  if (socket !== undefined) connections.add({ stream: socket })
  if (open.size === 0) {
    confirms = 0
    setImmediate(() => {
      if (confirms === 0 && open.size > 0) here(line, 'publish all:written')
    })
  }
  open.add(ticket)
}

/** An answer has come; the client has been told. */
export function answered(ticket: unknown): void {
  if (!open.delete(ticket)) return
  confirms += 1
  if (open.size > 0) at('confirm some')
}

export function lost(): void {
  open.clear()
  at('broker lost')
}

export function acknowledging(line: Line, name: string, write: () => void): void {
  at(`${name}:before`)
  write()
  at(`${name}:buffered`)
  here(line, `${name}:written`)
}
