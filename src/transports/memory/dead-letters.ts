import { type DeadLetter, type DeadLetterBox } from '../../core/dead-letter.ts'
import { errorTextWithStack } from '../../core/errors/error-text.ts'
import { checkNumber } from '../../core/options.ts'
import type { Clock } from '../../lib/async/clock.ts'
import type { Rejection } from './queue.ts'

/** The dead letters of a network, and the way into it. */
export interface MemoryDeadLetters {
  /** Of all queues. */
  readonly box: DeadLetterBox
  boxOf(queue: string | undefined): DeadLetterBox
  count(queue: string): number
  add(rejection: Rejection): void
}

interface Buried {
  readonly letter: DeadLetter
  readonly rejection: Rejection
}

export function memoryDeadLetters(clock: Clock): MemoryDeadLetters {
  const buried = new Map<number, Buried>()
  let last = 0

  /** Takes the named ones out, in the order in which they died. */
  function takeOut(keys: readonly string[], queue: string | undefined): Rejection[] {
    const numbers = [...new Set(keys)]
      .map(Number)
      .filter((number) => keys.includes(String(number)) && isIn(buried.get(number), queue))
    return numbers
      .toSorted((left, right) => left - right)
      .map((number) => {
        const { rejection } = buried.get(number) as Buried
        buried.delete(number)
        return rejection
      })
  }

  const boxOf = (name: string | undefined): DeadLetterBox => ({
    list: async ({ limit, after } = {}) => {
      await Promise.resolve()
      const most = checkNumber('limit', limit, { default: 100, min: 1, max: 1000 })
      const from =
        after === undefined ? 0 : /^\d+$/.test(after) ? Number(after) : Number.POSITIVE_INFINITY
      const found = [...buried].filter(([number, one]) => number > from && isIn(one, name))
      return found
        .slice(0, most)
        .map(([, { letter }]) => ({ ...letter, body: letter.body.slice() }))
    },
    retry: async (keys) => {
      await Promise.resolve()
      const taken = takeOut(keys, name)
      for (const { entry, queue } of taken)
        queue.add({ message: entry.message, partitionKey: entry.partitionKey, attempts: 0 })
      return taken.length
    },
    discard: async (keys) => {
      await Promise.resolve()
      return takeOut(keys, name).length
    },
  })

  return {
    add(rejection) {
      const number = ++last
      buried.set(number, { letter: makeLetter(String(number), rejection, clock.now()), rejection })
    },
    count: (queue) => [...buried.values()].filter((one) => isIn(one, queue)).length,
    boxOf,
    box: boxOf(undefined),
  }
}

function isIn(one: Buried | undefined, queue: string | undefined): boolean {
  return one !== undefined && (queue === undefined || one.rejection.queue.name === queue)
}

function makeLetter(
  key: string,
  { entry, queue, reason, error }: Rejection,
  diedAt: number,
): DeadLetter {
  const { message, attempts, partitionKey } = entry
  return {
    key,
    direction: 'incoming',
    id: message.id,
    type: message.type,
    headers: message.headers,
    body: message.body,
    place: queue.name,
    ...(partitionKey === undefined ? {} : { partitionKey }),
    reason,
    error: errorTextWithStack(error),
    attempts,
    history: [],
    diedAt,
    maybePublished: false,
    blocksKey: false,
  }
}
