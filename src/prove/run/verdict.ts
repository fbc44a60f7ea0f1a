import { isUndone, type Failure, type Look, type Trouble } from '../plan.ts'

/** What is promised, one column of the table each. */
export const promises = {
  together: 'a row and its message exist both, or neither',
  arrives: 'every message is handled, and nothing is stuck',
  once: 'each message takes effect once',
  order: 'messages of a key take effect in their order',
} as const

export type PromiseName = keyof typeof promises
export const promiseNames: readonly PromiseName[] = Object.keys(promises) as PromiseName[]

export interface Finding {
  readonly promise: PromiseName
  /** What was found. */
  readonly text: string
  /** What to do. */
  readonly remedy: string
}

export interface Remains extends Look {
  readonly actions: number
  readonly failures: readonly Failure[]
  /** By action, from 1; empty: no order is asked for. */
  readonly keys: readonly string[]
  readonly trouble: Trouble | undefined
}

/** What is wrong with what is left after everything has come to rest. */
export function verdict(remains: Remains): readonly Finding[] {
  return [
    ...failed(remains),
    ...takenBack(remains),
    ...lost(remains),
    ...withoutRow(remains),
    ...twice(remains),
    ...outOfOrder(remains),
  ]
}

const list = (numbers: readonly number[]): string =>
  `${numbers.length === 1 ? 'action' : 'actions'} ${numbers.slice(0, 5).join(', ')}${numbers.length > 5 ? ', …' : ''}`

function failed({ failures, rows }: Remains): readonly Finding[] {
  const [first] = failures
  if (first === undefined) return []
  const left = failures.some(({ n }) => rows.includes(n))
  return [
    {
      promise: 'together',
      text: `${list(failures.map(({ n }) => n))} failed${left ? ', and left rows all the same' : ''}: ${first.error}`,
      remedy: left
        ? 'leave COMMIT and ROLLBACK to the transaction that Mersal has begun, and write with its tx alone'
        : 'the error says what to do: act() has to succeed where nobody fails on purpose',
    },
  ]
}

function takenBack({ trouble, rows, effects }: Remains): readonly Finding[] {
  if (trouble !== 'undo') return []
  const kept = [...new Set(rows)].filter(isUndone)
  const told = [...new Set(effects)].filter((n) => isUndone(n) && !kept.includes(n))
  return [
    ...(kept.length === 0
      ? []
      : [
          {
            promise: 'together' as const,
            text: `${list(kept)} threw in the transaction, and the rows are there all the same`,
            remedy:
              'write the rows with the tx that app.transaction() hands out: not on a connection of your own, and without a COMMIT',
          },
        ]),
    ...(told.length === 0
      ? []
      : [
          {
            promise: 'together' as const,
            text: `${list(told)} threw in the transaction, and the message was handled all the same`,
            remedy: 'send with the sender that app.transaction() hands out, not with app.direct',
          },
        ]),
  ]
}

function lost({ rows, effects, waiting, dead, trouble }: Remains): readonly Finding[] {
  const there = new Set(effects)
  const missing = [...new Set(rows)].filter((n) => !there.has(n))
  // Taken back rows are told of already.
  const open = trouble === 'undo' ? missing.filter((n) => !isUndone(n)) : missing
  if (open.length === 0 || (trouble === 'poison' && open.length === 1)) return []
  if (waiting > 0)
    return [
      {
        promise: 'arrives',
        text: `${list(open)} took no effect; ${waiting} messages still wait`,
        remedy:
          'look which app relays and which one handles the message: all of them start in open(); a longer --wait helps if retries are slow',
      },
    ]
  if (dead > 0)
    return [
      {
        promise: 'arrives',
        text: `${list(open)} took no effect; ${dead} dead letters are there`,
        remedy: 'the handler fails for good, or too often for receive.maxDeliveries',
      },
    ]
  return [
    {
      promise: 'together',
      text: `${list(open)} left rows, and no message came`,
      remedy:
        'write the rows and send the message in one app.transaction(), with the tx and the sender that it hands out',
    },
  ]
}

function withoutRow({ rows, effects, trouble }: Remains): readonly Finding[] {
  const there = new Set(rows)
  const ghosts = [...new Set(effects)].filter(
    (n) => !there.has(n) && !(trouble === 'undo' && isUndone(n)),
  )
  if (ghosts.length === 0) return []
  return [
    {
      promise: 'together',
      text: `the message of ${list(ghosts)} was handled, and its rows are not there`,
      remedy:
        'send inside the transaction that writes the rows, with its sender; app.direct sends before anything is committed',
    },
  ]
}

function twice({ effects }: Remains): readonly Finding[] {
  const again = [...new Set(effects.filter((n, index) => effects.indexOf(n) !== index))]
  if (again.length === 0) return []
  return [
    {
      promise: 'once',
      text: `the message of ${list(again)} took effect more than once`,
      remedy:
        'a handler has to write with the tx of its context, so that the effect and the inbox are committed together; what cannot be written there needs an idempotency key (the id of the message)',
    },
  ]
}

function outOfOrder({ effects, keys }: Remains): readonly Finding[] {
  const last = new Map<string, number>()
  const late: number[] = []
  for (const n of new Set(keys.length === 0 ? [] : effects)) {
    const key = keys[n - 1] ?? ''
    if (n < (last.get(key) ?? 0)) late.push(n)
    last.set(key, Math.max(n, last.get(key) ?? 0))
  }
  if (late.length === 0) return []
  return [
    {
      promise: 'order',
      text: `the message of ${list(late)} took effect after a later one of its key`,
      remedy:
        'send with partitionKey, and receive with receive: { orderPerKey: true }; effects has to answer in the order in which they were written',
    },
  ]
}
