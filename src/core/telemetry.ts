import { loggable } from './errors/error-text.ts'
import { channel, type Channel } from 'node:diagnostics_channel'

type LogMethod = (fields: Readonly<Record<string, unknown>>, message: string) => void

/** The part of pino's logger that Mersal calls: fields first, then the text. */
export interface Logger {
  readonly debug: LogMethod
  readonly info: LogMethod
  readonly warn: LogMethod
  readonly error: LogMethod
}

const ignore: LogMethod = () => {}

/** Logs nothing. */
export const silentLogger: Logger = { debug: ignore, info: ignore, warn: ignore, error: ignore }

function toStderr(level: string): LogMethod {
  return (fields, message) => {
    const line = { level, time: new Date().toISOString(), message, ...fields }
    process.stderr.write(`${JSON.stringify(line, (_, value: unknown) => loggable(value))}\n`)
  }
}

/** Warnings and errors to standard error, one JSON object per line: the default. */
export const stderrLogger: Logger = {
  debug: ignore,
  info: ignore,
  warn: toStderr('warn'),
  error: toStderr('error'),
}

/**
 * What happened, for anyone who subscribes to the channel of the same name in
 * `node:diagnostics_channel`. Nothing is computed when nobody listens.
 */
export interface Events {
  /** A message was captured in a unit of work or sent directly. */
  'mersal:send': {
    readonly app: string
    readonly id: string
    readonly type: string
    readonly to: string
    readonly direct: boolean
  }
  /** A unit of work with messages has committed. */
  'mersal:commit': { readonly app: string; readonly messages: number; readonly express: number }
  /** A relay has asked the outbox for work. `messages`: how many it got, also none. */
  'mersal:claim': { readonly app: string; readonly messages: number }
  /**
   * The outbox could not be claimed from; it is tried again. `code` is that of the error, or
   * 'none'.
   */
  'mersal:claim-failed': { readonly app: string; readonly code: string }
  /** The relay was told that there may be rows: by a waker of the store, or a call of `wake()`. */
  'mersal:wake': { readonly app: string; readonly by: 'waker' | 'call' }
  /** A broker has answered for one message, or its time was up: `outcome` says what. */
  'mersal:publish': {
    readonly app: string
    readonly id: string
    readonly to: string
    readonly outcome: string
    readonly attempt: number
  }
  /**
   * What became of published messages was recorded. `stale`: rows that another relay had taken
   * over.
   */
  'mersal:settle': { readonly app: string; readonly messages: number; readonly stale: number }
  /** A relay has given a message up; it is a dead letter. */
  'mersal:dead': {
    readonly app: string
    readonly id: string
    readonly to: string
    readonly reason: string
  }
  /** The time of a message was over: it is not published (`relay`), or not handled (`receiver`). */
  'mersal:expired': {
    readonly app: string
    readonly id: string
    readonly type: string
    /** The key of its destination, or the name of the queue. */
    readonly place: string
    readonly by: 'relay' | 'receiver'
  }
  /** The breaker of a destination has changed: 'closed', 'open', 'half-open' or 'probing'. */
  'mersal:breaker': { readonly app: string; readonly destination: string; readonly state: string }
  /** Messages shared a transaction. `undone`: it failed, and they are handled again. */
  'mersal:batch': {
    readonly app: string
    readonly type: string
    readonly messages: number
    readonly outcome: 'handled' | 'undone'
  }
  /** A delivery has been handled, skipped or given up. `duration` in milliseconds. */
  'mersal:handle': {
    readonly app: string
    readonly id: string
    readonly type: string
    readonly attempt: number
    readonly outcome: string
    readonly duration: number
  }
}

export type EventName = keyof Events

const channels = new Map<EventName, Channel>()

/** Publishes an event; the function that makes it runs only if somebody listens. */
export function emit<Name extends EventName>(name: Name, event: () => Events[Name]): void {
  let target = channels.get(name)
  if (target === undefined) {
    target = channel(name)
    channels.set(name, target)
  }
  if (target.hasSubscribers) target.publish(event())
}
