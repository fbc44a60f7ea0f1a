import type { DeadLetter, DeadLetterBox } from '../../core/dead-letter.ts'
import { headerNames } from '../../core/messages/message.ts'
import { systemClock } from '../../lib/async/clock.ts'
import { withDeadLetters } from '../../operate/queues.ts'
import type { Watched } from '../live/watch.ts'
import { stretch } from './letters.ts'
import type { Desk } from './route.ts'

export interface WayLetter {
  readonly source: string
  /** Of incoming ones. */
  readonly transport: string | undefined
  readonly queue: string | undefined
  readonly letter: DeadLetter
}

interface Box extends Omit<WayLetter, 'letter'> {
  readonly box: DeadLetterBox
}

/** Most places that are looked into, and for how long in all. */
const MOST = { boxes: 20, letters: 100, ms: 4000 }

/** Dead letters of one process of messages, as far as a bounded look finds them. */
export async function lettersOfWay(
  desk: Desk,
  correlationId: string,
): Promise<{ readonly letters: readonly WayLetter[]; readonly complete: boolean }> {
  const until = systemClock.monotonic() + MOST.ms
  const watched = await desk.watched()
  const boxes = watched.flatMap(boxesOf)
  const letters: WayLetter[] = []
  let complete = boxes.length <= MOST.boxes && watched.every(({ trouble }) => trouble === undefined)
  for (const { box, ...place } of boxes.slice(0, MOST.boxes)) {
    try {
      const { next } = await stretch(box, {
        after: undefined,
        judge(letter) {
          if (belongs(letter, correlationId)) letters.push({ ...place, letter: slim(letter) })
          const last = letters.length >= MOST.letters || systemClock.monotonic() > until
          return { fate: 'keep', last }
        },
      })
      if (next !== undefined) complete = false
    } catch {
      complete = false
    }
    if (letters.length >= MOST.letters) break
  }
  return { letters, complete }
}

const belongs = ({ id, headers }: DeadLetter, correlationId: string): boolean =>
  id === correlationId || headers[headerNames.correlationId] === correlationId

/** Its bytes are not kept while others are looked at. */
const slim = (letter: DeadLetter): DeadLetter => ({ ...letter, body: new Uint8Array() })

/** Those that are known to hold something. */
function boxesOf({ source, sight }: Watched): readonly Box[] {
  const { store, transports, name } = source
  const outgoing = store?.admin.deadLetters
  const none = { source: name, transport: undefined, queue: undefined }
  const first =
    outgoing !== undefined && sight.overview?.dead !== 0 ? [{ ...none, box: outgoing }] : []
  return [
    ...first,
    ...withDeadLetters(sight.queues).flatMap(({ transport, queue }): readonly Box[] => {
      const box = transports.get(transport)?.operations?.deadLetters?.(queue)
      return box === undefined ? [] : [{ source: name, transport, queue, box }]
    }),
  ]
}
