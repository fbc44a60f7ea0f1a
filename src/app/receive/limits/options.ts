import { errorFields } from '../../../core/errors/error-text.ts'
import { type Envelope, headerNames } from '../../../core/messages/message.ts'
import { checkNumber, checkOptions, invalidOption } from '../../../core/options.ts'
import type { Logger } from '../../../core/telemetry.ts'
import { kindOfAnswer } from '../../../lib/async/late-answer.ts'
import type { LimitOptions } from '../../handle-options.ts'

/** One limit on each group of messages: how many at a time, and how many in a second. */
export interface Limit {
  /** Infinity: any number. */
  readonly concurrency: number
  /** Between the beginnings of two messages, in milliseconds. 0: no rate. */
  readonly intervalMs: number
  /** Undefined: the message is not limited. */
  readonly groupOf: (message: Envelope) => string | undefined
  /** Most messages of one group, and of all together, that wait for it in memory. */
  readonly share: number
  readonly room: number
}

export interface LimitFacts {
  /** Name of the app. */
  readonly name: string
  readonly logger: Logger
  /** Messages that the app handles at one time. */
  readonly concurrency: number
}

/** What waits must suffice for about two seconds of a rate, and keep every hand busy. */
const SHARE_SECONDS = 2
const LEAST_SHARE = 20
const MOST_SHARE = 500
/** So many groups may fill their shares. */
const GROUPS_IN_ROOM = 5
const MOST_ROOM = 1000
const MOST_LIMITS = 10

/** Throws `MERSAL_INVALID_OPTIONS` on anything that could not work. */
export function limitsOf(
  field: string,
  given: LimitOptions | readonly LimitOptions[] | undefined,
  facts: LimitFacts,
): readonly Limit[] {
  if (given === undefined) return []
  if (!Array.isArray(given)) return [limitOf(field, given as LimitOptions, facts)]
  if (given.length > MOST_LIMITS)
    throw invalidOption(field, `expected at most ${MOST_LIMITS} limits, got ${given.length}`)
  return given.map((one: LimitOptions, index) => limitOf(`${field}[${index}]`, one, facts))
}

function limitOf(field: string, given: LimitOptions, facts: LimitFacts): Limit {
  checkOptions(field, given, ['concurrency', 'perSecond', 'by'])
  const { by } = given
  if (given.concurrency === undefined && given.perSecond === undefined)
    throw invalidOption(field, 'limits nothing: give it concurrency, perSecond or both')
  const concurrency = concurrencyOf(`${field}.concurrency`, given.concurrency, facts)
  const rate = { default: 0, min: 0.001, max: 10_000, integer: false }
  const perSecond = checkNumber(`${field}.perSecond`, given.perSecond, rate)
  const wanted = SHARE_SECONDS * ((given.concurrency ?? 0) + perSecond)
  const share = Math.min(Math.max(Math.ceil(wanted), LEAST_SHARE), MOST_SHARE)
  return {
    concurrency,
    intervalMs: perSecond === 0 ? 0 : 1000 / perSecond,
    groupOf: groupOf(`${field}.by`, by, facts),
    share,
    room: by === undefined ? share : Math.min(share * GROUPS_IN_ROOM, MOST_ROOM),
  }
}

function concurrencyOf(field: string, given: number | undefined, facts: LimitFacts): number {
  const bounds = { default: Number.POSITIVE_INFINITY, min: 1, max: 10_000 }
  const concurrency = checkNumber(field, given, bounds)
  if (given !== undefined && concurrency > facts.concurrency) {
    const text = `${concurrency} is more than the ${facts.concurrency} messages that are handled at a time: raise receive.concurrency, or lower it`
    throw invalidOption(field, text)
  }
  return concurrency
}

function groupOf(field: string, by: LimitOptions['by'], facts: LimitFacts): Limit['groupOf'] {
  if (by === undefined) return () => ''
  if (by === 'key') return ({ headers }) => headers[headerNames.partitionKey]
  if (typeof by === 'function') return safely(field, by, facts)
  throw invalidOption(field, "expected 'key', or a function that names the group of a message")
}

/** A function that fails must not lift the limit: what it cannot tell apart is one group. */
function safely(
  field: string,
  by: (message: Envelope) => string | undefined,
  { name: app, logger }: LimitFacts,
): Limit['groupOf'] {
  const text = `${field} is of no use here; the message is limited with others of its kind`
  return (message) => {
    try {
      const group: unknown = by(message)
      if (group === undefined || typeof group === 'string') return group
      logger.error({ app, answer: `it returned ${kindOfAnswer(group)}` }, text)
    } catch (error) {
      logger.error({ app, ...errorFields(error) }, text)
    }
    return ''
  }
}
