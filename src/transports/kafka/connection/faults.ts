import { MersalError } from '../../../core/errors/errors.ts'
import { isFaultOfTls } from '../../../core/errors/tls-faults.ts'
import type { Describe } from '../../shared/describe.ts'
import { invalid } from '../options.ts'

/** Numbers of the errors of Kafka that mean something to us. */
export const codes = {
  offsetOutOfRange: 1,
  corruptMessage: 2,
  unknownTopic: 3,
  requestTimedOut: 7,
  messageTooLarge: 10,
  metadataTooLarge: 12,
  batchTooLarge: 18,
  afterAppend: 20,
  unknownMember: 25,
  topicAuthorization: 29,
  groupAuthorization: 30,
  clusterAuthorization: 31,
  invalidTimestamp: 32,
  unsupportedVersion: 35,
  topicExists: 36,
  invalidPartitions: 37,
  invalidReplicationFactor: 38,
  invalidConfig: 40,
  policyViolation: 44,
  duplicateSequence: 46,
  groupNotFound: 69,
  nonEmptyGroup: 68,
  unknownTopicId: 100,
  inconsistentTopicId: 103,
  fencedMember: 110,
  unsupportedAssignor: 112,
  staleMember: 113,
} as const

/** The broker has not stored it; another one may, or the same one a moment later. */
export const movedCodes: ReadonlySet<number> = new Set([
  3, 5, 6, 8, 9, 72, 74, 75, 76, 89, 100, 103,
])
/** Not enough copies, no disk: certainly not stored, and no fault of the message. */
export const awayCodes: ReadonlySet<number> = new Set([19, 56])
/** One of the records is not as the topic wants it: INVALID_TIMESTAMP, INVALID_RECORD. */
export const recordCodes: ReadonlySet<number> = new Set([32, 87])
/** The broker does not go on with this producer: its id, epoch or sequence. */
export const fencedCodes: ReadonlySet<number> = new Set([45, 47, 49, 59, 90])
/** The coordinator of a group is elsewhere, or not ready. */
export const coordinatorCodes: ReadonlySet<number> = new Set([14, 15, 16])

/** Every error in the tree of causes and collected errors. */
function* tree(error: unknown, depth = 0): Generator<Error> {
  if (!(error instanceof Error) || depth > 8) return
  yield error
  if (error instanceof AggregateError) for (const one of error.errors) yield* tree(one, depth + 1)
  yield* tree(error.cause, depth + 1)
}

/** The numbers that brokers have answered with. */
export function codesIn(error: unknown): readonly number[] {
  return [...tree(error)].flatMap((one) =>
    'apiCode' in one && typeof one.apiCode === 'number' ? [one.apiCode] : [],
  )
}

/** Whether a topic may be gone: a broker does not know it, or not as it was. */
export function mayBeMissing(error: unknown): boolean {
  if (error instanceof MersalError && /no leader|not there yet/.test(error.message)) return true
  const missing: readonly number[] = [
    codes.unknownTopic,
    codes.unknownTopicId,
    codes.inconsistentTopicId,
  ]
  return codesIn(error).some((code) => missing.includes(code))
}

/** What a broker has answered although part of it is an error; else it is thrown. */
export async function partly<Response>(asked: Promise<Response>): Promise<Response> {
  try {
    return await asked
  } catch (error) {
    if (error instanceof AggregateError && 'response' in error && error.response !== undefined)
      return error.response as Response
    throw error
  }
}

function isTls(error: Error): boolean {
  return isFaultOfTls(error) || /requires TLS|TLS handshake failed/.test(error.message)
}

const forbidden: ReadonlySet<number> = new Set([
  codes.topicAuthorization,
  codes.groupAuthorization,
  codes.clusterAuthorization,
])

/** The mistake of configuration behind a failure; undefined if waiting may help. */
export function mistakeOf(error: unknown, describe: Describe): MersalError | undefined {
  if (error instanceof MersalError && error.code === 'MERSAL_INVALID_OPTIONS') return error
  const all = [...tree(error)]
  const tls = all.find(isTls)
  if (tls !== undefined)
    return invalid('tls', `no secure connection to Kafka, look at tls.ca: ${describe(tls)}`)
  const found = codesIn(error)
  if (found.includes(33) || found.includes(34))
    return invalid('sasl.mechanism', 'the broker does not offer this mechanism on this port')
  if (
    found.includes(58) ||
    all.some((one) => 'code' in one && one.code === 'PLT_KFK_AUTHENTICATION')
  )
    return invalid('sasl', 'Kafka refuses user, password or token')
  if (found.some((code) => forbidden.has(code)))
    return invalid(
      'sasl',
      `the user lacks a right (docs/kafka.md lists them): ${detail(all, describe)}`,
    )
  return undefined
}

/** The text of the broker, where it gives one. */
export function detail(errors: readonly Error[], describe: Describe): string {
  const said = errors.find(
    (one) => 'serverErrorMessage' in one && typeof one.serverErrorMessage === 'string',
  )
  if (said !== undefined)
    return String((said as { serverErrorMessage?: unknown }).serverErrorMessage)
  return describe(errors.find((one) => 'apiCode' in one) ?? errors[0])
}

export function detailOf(error: unknown, describe: Describe): string {
  return detail([...tree(error)], describe)
}
