import type { ChannelModel, ConsumeMessage } from 'amqplib'
import { linkAbort } from '../../../../lib/async/linked-abort.ts'
import { keyLanes } from '../../../shared/order/key-lanes.ts'
import { arrivalOf, passing } from '../../connection/known.ts'
import { membersOf } from '../../connection/opened.ts'
import type { CopyTo, Mover } from '../../consume/mover.ts'
import { type Answer, type Hold, type Settler, tooLarge } from '../../consume/settle.ts'
import { type HeaderTable, headerTable, ownHeaders } from '../../publish/envelope.ts'
import { type ChannelPorts, openReader, type Reader, type Reading } from '../channel.ts'
import type { Arrived } from '../entry.ts'
import type { LayoutPorts } from '../layout.ts'
import { keyOf, partitionFor, partitionQueueOf } from '../names.ts'
import { HeldKeys } from './held-keys.ts'
import { AHEAD, type Place, Places } from './places.ts'

export interface SplitterPorts extends LayoutPorts, Pick<ChannelPorts, 'stopping'> {
  readonly mover: Mover
  readonly settler: Settler
}

/**
 * Moves the messages of a queue into its partitions. One process does it at a time.
 *
 * Of one key one message is on its way at a time, so that a copy which must be written twice passes
 * nobody. A crash, or a process that stood still, may write copies again: of two splitters each
 * writes in order, beginning with the first message that was not acknowledged, so the first copies
 * are in order.
 *
 * What can go nowhere holds its key. What comes behind it stays in the queue, and in nobody's
 * memory, until the channel ends: then all of it comes again in order. What several consumers of a
 * quorum queue had does not (RabbitMQ 3.10.8), so there is one on a channel: who is to read further
 * ahead begins again. `aheadOn`: how far on each connection.
 */
export function openSplitter(
  ports: SplitterPorts,
  model: ChannelModel,
  queue: string,
  aheadOn: WeakMap<ChannelModel, number>,
): Promise<Reader> {
  return openReader(ports, model, queue, async (reading) => {
    const { channel, running } = reading
    const { logger } = ports.settings
    const ahead = aheadOn.get(model) ?? AHEAD
    const beginAgain = (next: number, why: string): void => {
      aheadOn.set(model, next)
      channel.giveUp(why)
    }
    const goOn = (): void =>
      beginAgain(AHEAD, 'messages that have stayed behind another one can go on')
    // After the answer to that one.
    const held = new HeldKeys(() => setImmediate(goOn))
    const widen = (next: number): void => beginAgain(next, 'it is read further ahead')
    const places = new Places({ queue, logger, ahead, widen })
    const moveOne = mover(ports, queue, reading, held)
    const split = async ({ message, answer }: Arrived): Promise<void> => {
      const parts = membersOf(message, ownIn(message)) ?? [message]
      const place = places.take()
      const how = { again: message.fields.redelivered, isPart: parts.length > 1, place }
      const end = ofAll(await Promise.all(parts.map((part) => moveOne(part, how))))
      answer(end)
      place.leave(end)
    }
    const receive = (arrived: Arrived): void => running.add(split(arrived))
    await channel.consume(queue, ahead, receive)
  })
}

/** What is answered for a bundle: it stays as long as one of its messages does. */
function ofAll(answers: readonly Answer[]): Answer {
  return answers.find((answer) => answer !== 'ack') ?? 'ack'
}

/** What this transport has written about the message, which goes with it. */
function ownIn(message: ConsumeMessage): HeaderTable {
  const all = Object.entries(headerTable(message))
  return Object.fromEntries(
    all.filter(([name]) => name.startsWith('x-mersal-') && name !== ownHeaders.again),
  )
}

interface How {
  /** It may be in its partition already. */
  readonly again: boolean
  /** It is one of several messages of a bundle. */
  readonly isPart: boolean
  readonly place: Place
}

/** What is to be answered for a message: it is where it should be, can never be, or stays. */
type MoveOne = (message: ConsumeMessage, how: How) => Promise<Answer>

function mover(ports: SplitterPorts, queue: string, reading: Reading, held: HeldKeys): MoveOne {
  const lanes = keyLanes()
  const untilMoved = untilMovedOf(ports, queue, reading)
  return async (message, how) => {
    const key = keyOf(message)
    let answer: Promise<Answer> | undefined
    await lanes.run(key, async () => {
      if (held.keeps(key)) return how.place.stay()
      const stays = Promise.withResolvers<void>()
      answer = untilMoved(message, how, stays.resolve)
      // From then on those behind it need not wait in memory.
      const stayed = stays.promise.then(() => {
        how.place.stay()
        held.hold(key)
      })
      await Promise.race([answer, stayed])
    })
    const end = (await answer) ?? 'requeue'
    if (end !== 'requeue') held.release(key)
    return end
  }
}

/** `onStay`: it can go nowhere for now. It is tried again and again. */
function untilMovedOf(
  { mover: moves, settler, settings }: SplitterPorts,
  queue: string,
  { channel: { lost }, stopping }: Reading,
): (message: ConsumeMessage, how: How, onStay: () => void) => Promise<Answer> {
  const givingUp = linkAbort(lost)
  givingUp.follow(() => givingUp[Symbol.dispose]())
  return async (message, { again, isPart }, onStay) => {
    const arrival = arrivalOf(queue, message)
    const known = { ...passing(arrival), attempt: arrival.base }
    const target = partitionQueueOf(queue, partitionFor(message, settings.partitions))
    const ends = { lost, givingUp, stopping }
    const hold: Hold = { queue, message, arrival, known, answer() {}, ...ends, isPart, onStay }
    while (!stopping.aborted && !lost.aborted) {
      const { kind } = await moves.move(hold, planOf(hold, target, again))
      if (kind === 'moved') return 'ack'
      if (kind !== 'impossible') continue
      // Without its headers it would be another message. As a dead letter it keeps what fits.
      const end = await settler.answerTo(hold, tooLarge())
      if (end !== undefined && end !== 'requeue') return end
    }
    return 'requeue'
  }
}

/**
 * With all of its headers. What may be in its partition already, from an earlier channel or since
 * the broker has not confirmed it, has a mark if there is room for it.
 */
function planOf(
  { message, known }: Hold,
  target: string,
  again: boolean,
): Parameters<Mover['move']>[1] {
  const plain: CopyTo = { target, headers: ownIn(message), dead: false }
  const marked = { ...plain, headers: { ...plain.headers, [ownHeaders.again]: '1' } }
  let hasRoom = true
  const isMarked = (): boolean => hasRoom && (again || known.doubled)
  const next = (): CopyTo => (isMarked() ? marked : plain)
  const noRoom = (): CopyTo | undefined => {
    if (!isMarked()) return undefined
    hasRoom = false
    return plain
  }
  return { next, aside: next, noRoom }
}
