import type { NatsConnection } from '@nats-io/transport-node'
import { MersalError } from '../../../core/errors/errors.ts'
import { isFaultOfTls } from '../../../core/errors/tls-faults.ts'
import type { Describe } from '../../shared/describe.ts'
import { invalid } from '../options.ts'

/** Numbers of the errors of the JetStream API that mean something to us. */
export const apiCodes = {
  accountIsFull: 10_002,
  consumerNotFound: 10_014,
  messageNotFound: 10_037,
  notEnabledForAccount: 10_039,
  messageTooLarge: 10_054,
  noMessageToDelete: 10_057,
  streamNameInUse: 10_058,
  streamNotFound: 10_059,
  notEnabled: 10_076,
  consumerBesideOthers: 10_099,
  consumerBesideThis: 10_100,
} as const

/** Refusals of a stream that come again each time, by the option that is at fault. */
const streamMistakes: Readonly<Record<number, readonly ['prefix' | 'replicas', string]>> = {
  10_065: ['prefix', 'another stream of the account takes these subjects; choose another prefix'],
  10_074: ['replicas', 'more than 1 needs a cluster'],
  10_113: ['prefix', 'max_bytes of JetStream must be off for the account of this user'],
}

/** The number of an error of the JetStream API; undefined for any other error. */
export function apiCodeOf(error: unknown): number | undefined {
  if (!(error instanceof Error) || !('apiError' in error)) return undefined
  const { code } = error as { readonly code?: unknown }
  return typeof code === 'number' ? code : undefined
}

/** Names of the error and of its causes. */
function namesOf(error: unknown): string[] {
  return error instanceof Error ? [error.name, ...namesOf(error.cause)] : []
}

/** No part of the server listens to what was asked. */
function hasNoResponders(error: unknown): boolean {
  const names = namesOf(error)
  return names.includes('JetStreamNotEnabled') || names.includes('NoRespondersError')
}

const OLDEST = [2, 9, 0] as const

function isTooOld(version: string): boolean {
  const parts = version.split(/[.-]/).slice(0, 3).map(Number)
  for (const [index, wanted] of OLDEST.entries()) {
    const part = parts[index] ?? 0
    if (part !== wanted) return part < wanted
  }
  return false
}

/** Throws if this server cannot serve, however long somebody waits. */
export function checkServer({ info }: NatsConnection): void {
  const version = info?.version ?? '0'
  if (isTooOld(version))
    throw invalid('url', `the server is NATS ${version}; ${OLDEST.join('.')} or later is needed`)
  if (info?.jetstream !== true) throw noJetStream()
}

function noJetStream(): MersalError {
  return invalid(
    'url',
    'the server, or the account of this user, has no JetStream: start nats-server with -js, or enable it for the account',
  )
}

/** The mistake of configuration behind a failed connection; undefined if waiting may help. */
export function mistakeOf(error: unknown, describe: Describe): MersalError | undefined {
  if (error instanceof MersalError && error.code === 'MERSAL_INVALID_OPTIONS') return error
  if (!(error instanceof Error)) return undefined
  const code = apiCodeOf(error)
  if (hasNoResponders(error) || code === apiCodes.notEnabled) return noJetStream()
  if (code === apiCodes.notEnabledForAccount) return noJetStream()
  const ofStream = code === undefined ? undefined : streamMistakes[code]
  if (ofStream !== undefined) return invalid(ofStream[0], `${describe(error)}: ${ofStream[1]}`)
  const names = namesOf(error)
  if (names.includes('AuthorizationError') || names.includes('UserAuthenticationExpiredError'))
    return invalid('url', `NATS refuses user, password or token: ${describe(error)}`)
  if (names.includes('PermissionViolationError'))
    return invalid(
      'url',
      `the user lacks a permission (docs/nats.md lists them): ${describe(error)}`,
    )
  if (isFaultOfTls(error))
    return invalid(
      'tls',
      `no secure connection to NATS, look at tls.ca and at the host in the URL: ${describe(error)}`,
    )
  if (/^server does not support '?tls/i.test(error.message)) return invalid('tls', describe(error))
  if (names.includes('InvalidArgumentError')) return invalid('url', describe(error))
  return undefined
}
