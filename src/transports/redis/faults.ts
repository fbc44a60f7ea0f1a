import { ClientClosedError, ClientOfflineError, ErrorReply } from '@redis/client'
import { causesOf } from '../../core/errors/causes.ts'
import { isMersalError, MersalError } from '../../core/errors/errors.ts'
import { isFaultOfTls } from '../../core/errors/tls-faults.ts'
import { invalidOption } from '../../core/options.ts'
import type { Describe } from '../shared/describe.ts'

const remedies: Readonly<Record<string, string>> = {
  OOM: 'the server has reached maxmemory: raise it, or let consumers catch up',
  READONLY: 'the server is a replica now',
  LOADING: 'the server reads its data from the disk',
  MISCONF: 'the server cannot write to its disk: look at its log',
  NOREPLICAS: 'the server has too few replicas (min-replicas-to-write)',
  MASTERDOWN: 'the server is a replica without its master',
  NOPERM: 'the user lacks a permission: docs/redis.md lists them',
  BUSY: 'the server runs a script of somebody for too long',
}

const replyIn = (error: unknown): ErrorReply | undefined =>
  causesOf(error).find((one) => one instanceof ErrorReply)

/** Whether the server has answered, with an error. */
export function isReply(error: unknown): boolean {
  return replyIn(error) !== undefined
}

/** Whether the client did not even begin to send. */
export function wasNotSent(error: unknown): boolean {
  return error instanceof ClientClosedError || error instanceof ClientOfflineError
}

/** The first word of an error that the server answered; empty if it is no answer. */
export function wordOf(error: unknown): string {
  const text = replyIn(error)?.message ?? ''
  if (text.includes("The user executing the script can't")) return 'NOPERM'
  const [first = '', second = ''] = text.split(' ')
  // Errors inside of a script may begin in either way.
  return first === 'ERR' && Object.hasOwn(remedies, second) ? second : first
}

/** What the server refuses at this moment, with the remedy where there is one. */
export function faultOfServer(error: unknown): string {
  const word = wordOf(error)
  return Object.hasOwn(remedies, word)
    ? (remedies[word] as string)
    : (replyIn(error)?.message.slice(0, 300) ?? 'there is no connection')
}

/** Whether another connection is needed: this one leads to a server that is no master any more. */
export function isDemotion(error: unknown): boolean {
  return wordOf(error) === 'READONLY' || wordOf(error) === 'NOAUTH'
}

/** The mistake of configuration behind a failed connection; undefined if waiting may help. */
export function mistakeOf(error: unknown, describe: Describe): MersalError | undefined {
  if (isMersalError(error, 'MERSAL_INVALID_OPTIONS')) return error
  const word = wordOf(error)
  if (word === 'NOAUTH')
    return invalidOption(
      'redis.url',
      'the server wants a password: redis://user:password@host:port, or redis://:password@host:port',
    )
  if (word === 'WRONGPASS')
    return invalidOption('redis.url', `Redis refuses user or password: ${describe(error)}`)
  if (word === 'NOPERM')
    return invalidOption('redis.url', `${describe(error)}: docs/redis.md lists the permissions`)
  if (/^ERR (?:AUTH|Client sent AUTH)/.test(error instanceof Error ? error.message : ''))
    return invalidOption('redis.url', `Redis refuses the password: ${describe(error)}`)
  if (/DB index is out of range/.test(error instanceof Error ? error.message : ''))
    return invalidOption('redis.url', 'the server has no database with this number')
  if (isFaultOfTls(error)) {
    const text = `no secure connection, look at tls.ca and at the host: ${describe(error)}`
    return invalidOption('redis.tls', text)
  }
  return undefined
}

/**
 * A server that speaks TLS where none is expected, or none where it is, does not say so: it hangs
 * up, or says nothing. The error then names the other URL.
 */
export function withDoubtOfTls(error: unknown, secure: boolean, describe: Describe): unknown {
  if (isReply(error) || mistakeOf(error, describe) !== undefined) return error
  const text = describe(error)
  const isSilent = isMersalError(error, 'MERSAL_UNAVAILABLE')
  const hungUp = /ECONNRESET|EPIPE|Socket closed unexpectedly/.test(text)
  if (secure ? !isSilent && !hungUp : !hungUp) return error
  const doubt = secure
    ? 'begin the URL with redis:// if the server speaks no TLS on this port'
    : 'begin the URL with rediss:// if the server wants TLS on this port'
  return new MersalError('MERSAL_UNAVAILABLE', `${text}; ${doubt}`, { cause: error })
}
