import type { BrokerPlace } from '../plan.ts'

export interface BrokerMessage {
  readonly id: string
  /** Undefined if the body is no JSON object that has one. */
  readonly studentId: string | undefined
}

export interface BrokerCounts {
  /** Events that were published, each id once if the broker can tell. */
  readonly events: number
  readonly deadLetters: number
  /** In the queues of the apps. A message that an app holds at this moment may be missing. */
  readonly waiting: number
}

/**
 * The broker of one part of the demo, as the parent sees it: with nothing of the bus. The queue
 * `audit` is subscribed to the event and read by nobody, so it holds everything that was ever
 * published.
 */
export interface DemoBroker extends AsyncDisposable {
  readonly place: BrokerPlace
  counts(): Promise<BrokerCounts>
  events(): Promise<BrokerMessage[]>
  deadLetters(): Promise<BrokerMessage[]>
  /**
   * Puts a message that is no JSON and copies of delivered messages into the queue of finance.
   * Returns how many copies.
   */
  disturb(copies: number): Promise<number>
}

export const poison = {
  id: 'poison',
  type: 'students.registered',
  body: Buffer.from([0xff, 0x7b, 0x00]),
} as const

export function messageOf(id: string, body: Uint8Array): BrokerMessage {
  let studentId: unknown
  try {
    studentId = (JSON.parse(Buffer.from(body).toString()) as { studentId?: unknown } | null)
      ?.studentId
  } catch {
    studentId = undefined // the poison message
  }
  return { id, studentId: typeof studentId === 'string' ? studentId : undefined }
}
