import { MersalError } from '../../core/errors/errors.ts'
import type { Control, Controls } from './transaction-words.ts'

type State = 'running' | 'done' | 'failed' | 'unclear'

interface Entry {
  readonly controls: readonly Control[]
  state: State
}

/** Told how the statement went. */
export type Settle = (went: boolean) => void

/**
 * The savepoints of one transaction whose statements all pass here, and the messages that were sent
 * between them, by number. Read at the end, when it is known which of the statements went well.
 */
export class SavepointLog {
  readonly #events: (number | Entry)[] = []
  #entries = 0

  /** Notes statements about savepoints when they are sent. */
  issue({ all, mixed }: Controls): Settle {
    const entry: Entry = { controls: all, state: 'running' }
    this.#events.push(entry)
    this.#entries++
    return (went) => {
      // How far a text of several statements came is not told.
      entry.state = went ? 'done' : mixed ? 'unclear' : 'failed'
    }
  }

  /** Notes a message. */
  mark(number: number): void {
    this.#events.push(number)
  }

  /** The messages that no rollback has taken along; undefined: all of them. */
  kept(): ReadonlySet<number> | undefined {
    if (this.#entries === 0) return undefined
    const kept: number[] = []
    const open: { readonly name: string; readonly kept: number }[] = []
    for (const event of this.#events) {
      if (typeof event === 'number') kept.push(event)
      else if (event.state === 'running' || event.state === 'unclear') throw unclear()
      else if (event.state === 'done')
        for (const control of event.controls) apply(control, kept, open)
    }
    return new Set(kept)
  }
}

function apply(
  control: Control,
  kept: number[],
  open: { readonly name: string; readonly kept: number }[],
): void {
  if (control.kind === 'ends') return
  if (control.kind === 'savepoint') return void open.push({ name: control.name, kept: kept.length })
  // The same name may be used again: the youngest one is meant.
  const place = open.findLastIndex(({ name }) => name === control.name)
  const savepoint = open[place]
  if (savepoint === undefined) throw unclear()
  if (control.kind === 'rollback to') kept.length = savepoint.kept
  open.length = control.kind === 'rollback to' ? place + 1 : place
}

function unclear(): MersalError {
  const text =
    'it cannot be told which messages belong to a savepoint that was rolled back: await statements about savepoints, and send each alone'
  return new MersalError('MERSAL_ROLLED_BACK', text)
}
