import { setImmediate as nextTurn } from 'node:timers'
import { type EventType, event } from '../../src/index.ts'
import type { Slow } from './program.ts'

interface Body {
  readonly tag: string
}

const isBody = (value: unknown): value is Body =>
  typeof (value as { tag?: unknown } | null)?.tag === 'string'

const refusal = { issues: [{ message: 'a tag is a text' }] }

export const Happened: EventType<Body> = event<Body>('programs.happened', {
  '~standard': {
    version: 1,
    vendor: 'test',
    validate: (value: unknown) => (isBody(value) ? { value } : refusal),
  },
})

/** Its schema waits before it answers. */
const slowly = (wait: () => Promise<unknown>): EventType<Body> =>
  event<Body>('programs.happened', {
    '~standard': {
      version: 1,
      vendor: 'test',
      async validate(value: unknown) {
        await wait()
        return isBody(value) ? { value } : refusal
      },
    },
  })

const someTurns = async (): Promise<void> => {
  for (let turn = 0; turn < 8; turn++) await new Promise<void>((resolve) => void nextTurn(resolve))
}

const waiting = new Set<() => void>()

/** A program has ended. */
export function noteEnd(): void {
  for (const resolve of waiting) resolve()
}

/**
 * Until some programs have ended: the next one has the same connection by then. It may wait for
 * this message, so no longer than a second.
 */
async function someTransactions(): Promise<void> {
  let left = 6
  await new Promise<void>((resolve) => {
    const over = (): void => {
      waiting.delete(ended)
      clearTimeout(timer)
      resolve()
    }
    const ended = (): void => void (--left === 0 && over())
    const timer = setTimeout(over, 1000)
    waiting.add(ended)
  })
}

const types: Readonly<Record<Slow, EventType<Body>>> = {
  no: Happened,
  turns: slowly(someTurns),
  long: slowly(someTransactions),
}

export const typeOf = (slow: Slow): EventType<Body> => types[slow]
