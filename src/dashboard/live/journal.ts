import { tracingChannel } from 'node:diagnostics_channel'
import { destinationKey, type Envelope, headerNames } from '../../core/messages/message.ts'
import type { OperationName, Operations } from '../../core/traced.ts'
import { systemClock } from '../../lib/async/clock.ts'

/** Something that this process did with a message. Times are milliseconds since the Unix epoch. */
export interface Step {
  readonly at: number
  readonly what: 'sent' | 'published' | 'received'
  /** Name of the app that did it. */
  readonly app: string
  /** The destination, or the queue. */
  readonly place: string
  readonly outcome?: string
  readonly ms?: number
}

export interface Remembered {
  readonly id: string
  readonly type: string
  readonly correlationId: string
  readonly causationId: string | undefined
  readonly steps: readonly Step[]
}

/** The latest messages of some apps, and their steps, without a body or a header. */
export interface Journal extends Disposable {
  readonly since: number
  readonly size: number
  /** Of one process of several messages: its correlation id, or the id of one of them. */
  find(id: string): readonly Remembered[]
}

const MOST_STEPS = 20

interface Entry extends Remembered {
  readonly steps: Step[]
}

/** `most`: of how many messages; 0 remembers nothing, and listens to nothing. */
export function keepJournal(apps: ReadonlySet<string>, most: number): Journal {
  const entries = new Map<string, Entry>()
  const note = (message: Envelope, step: Step): void => {
    const entry = entries.get(message.id) ?? entryOf(message)
    entries.set(message.id, entry)
    if (entry.steps.length < MOST_STEPS) entry.steps.push(step)
    if (entries.size <= most) return
    for (const oldest of entries.keys()) return void entries.delete(oldest)
  }
  const undo = most === 0 || apps.size === 0 ? [] : listeners(apps, note)
  return {
    since: systemClock.now(),
    get size() {
      return entries.size
    },
    find(id) {
      const wanted = entries.get(id)?.correlationId ?? id
      return [...entries.values()].filter(
        (entry) => entry.correlationId === wanted || entry.id === wanted,
      )
    },
    [Symbol.dispose]() {
      for (const one of undo) one()
    },
  }
}

function entryOf({ id, type, headers }: Envelope): Entry {
  const correlationId = headers[headerNames.correlationId] ?? id
  return { id, type, correlationId, causationId: headers[headerNames.causationId], steps: [] }
}

type Note = (message: Envelope, step: Step) => void

function listeners(apps: ReadonlySet<string>, note: Note): readonly (() => void)[] {
  const began = new WeakMap<object, number>()
  const on = <Name extends OperationName>(
    name: Name,
    over: (facts: Operations[Name], about: Pick<Step, 'at' | 'app' | 'ms'>) => void,
  ): (() => void) => {
    const subscribers = {
      start: (facts: object) => void began.set(facts, systemClock.monotonic()),
      end: nothing,
      asyncStart: nothing,
      asyncEnd(given: object) {
        const facts = given as Operations[Name]
        if (!apps.has(facts.app)) return
        const start = began.get(facts)
        const ms = start === undefined ? 0 : Math.round(systemClock.monotonic() - start)
        over(facts, { at: systemClock.now(), app: facts.app, ms })
      },
      error: nothing,
    }
    const channel = tracingChannel<object>(`mersal:${name}`)
    channel.subscribe(subscribers)
    return () => channel.unsubscribe(subscribers)
  }
  return [
    on('send', ({ message, to }, { at, app }) => {
      if (message !== undefined) note(message, { at, app, what: 'sent', place: destinationKey(to) })
    }),
    on('publish', ({ message, outcome }, about) =>
      note(message, {
        ...about,
        what: 'published',
        place: destinationKey(message.to),
        outcome: outcome ?? 'failed',
      }),
    ),
    on('receive', ({ message, queue, outcome }, about) =>
      note(message, { ...about, what: 'received', place: queue, outcome: outcome ?? 'failed' }),
    ),
  ]
}

function nothing(): void {}
