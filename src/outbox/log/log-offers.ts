import { type CommitLog, logToken, MOST_LOGGED } from '../../core/commit-log.ts'
import type { OutgoingMessage } from '../../core/messages/message.ts'
import type { Environment } from '../environment.ts'
import { sharedToken } from '../publish/express-lane.ts'
import type { ExpressOffer } from '../types.ts'

export interface LogOffersPorts {
  readonly environment: Pick<Environment, 'clock' | 'newToken'>
  readonly graceMs: number
  readonly log: Pick<CommitLog, 'condition'>
}

/** Lets a writer have its rows born claimed for whoever reads the log. */
export interface LogOffers {
  /** Undefined: nobody reads the log, or these are too much for it. */
  offer(messages?: readonly OutgoingMessage[]): ExpressOffer | undefined
  /** Finds out again and again whether somebody reads, until the signal aborts. Never rejects. */
  watch(signal: AbortSignal): Promise<void>
}

/** A reader that has gone is noticed after this. What was written meanwhile waits for its grace. */
const LOOK_MS = 1000

export function createLogOffers({ environment, graceMs, log }: LogOffersPorts): LogOffers {
  const { clock, newToken } = environment
  const token = sharedToken({ clock, newToken: () => logToken(newToken()) })
  let followed = false

  async function look(): Promise<void> {
    try {
      followed = (await log.condition()).state === 'followed'
    } catch {
      // The relay tells of a database that is away; its claims find what is written meanwhile.
      followed = false
    }
  }

  return {
    offer(messages = []) {
      if (!followed || isTooMuch(messages)) return undefined
      // Whoever reads the log hands them over, and knows nothing of this offer.
      return { token: token(), graceMs, dispatch: () => {}, cancel: () => {} }
    },
    async watch(signal) {
      while (!signal.aborted) {
        await look()
        await clock.sleep(LOOK_MS, signal)
      }
      followed = false
    },
  }
}

function isTooMuch(messages: readonly OutgoingMessage[]): boolean {
  if (messages.length >= MOST_LOGGED.rows) return true
  return messages.reduce((sum, { body }) => sum + body.byteLength, 0) > MOST_LOGGED.bytes
}
