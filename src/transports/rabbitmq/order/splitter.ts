import type { ChannelModel, ConsumeMessage } from 'amqplib'
import { linkAbort } from '../../../lib/async/linked-abort.ts'
import { keyLanes } from '../../shared/order/key-lanes.ts'
import { arrivalOf, passing } from '../connection/known.ts'
import { membersOf } from '../connection/opened.ts'
import type { CopyTo, Mover } from '../consume/mover.ts'
import { type Answer, type Hold, type Settler, tooLarge } from '../consume/settle.ts'
import { type HeaderTable, headerTable, ownHeaders } from '../publish/envelope.ts'
import { type ChannelPorts, openReader, type Reader, type Reading } from './channel.ts'
import type { Arrived } from './entry.ts'
import type { LayoutPorts } from './layout.ts'
import { keyOf, partitionFor, partitionQueueOf } from './names.ts'

export interface SplitterPorts extends LayoutPorts, Pick<ChannelPorts, 'stopping'> {
  readonly mover: Mover
  readonly settler: Settler
}

/** Messages that are on their way into the partitions, at most. */
const AHEAD = 500

/**
 * Moves the messages of a queue into its partitions. One process does it at a time.
 *
 * Of one key one message is on its way at a time, so that a copy which must be written twice passes
 * nobody. A crash, or a process that stood still, may write copies again: of two splitters each
 * writes in order, beginning with the first message that was not acknowledged, so the first copies
 * are in order.
 */
export function openSplitter(
  ports: SplitterPorts,
  model: ChannelModel,
  queue: string,
): Promise<Reader> {
  return openReader(ports, model, queue, async (reading) => {
    const moveOne = mover(ports, queue, reading)
    const split = async ({ message, answer }: Arrived): Promise<void> => {
      const { redelivered } = message.fields
      const parts = membersOf(message, ownIn(message)) ?? [message]
      answer(ofAll(await Promise.all(parts.map((part) => moveOne(part, redelivered)))))
    }
    await reading.channel.consume(queue, AHEAD, (arrived) => reading.running.add(split(arrived)))
  })
}

/** What is answered for a bundle: it stays as long as one of its messages does. */
function ofAll(answers: readonly Answer[]): Answer {
  if (answers.includes('requeue')) return 'requeue'
  return answers.includes('pass-on') ? 'pass-on' : 'ack'
}

/** What this transport has written about the message, which goes with it. */
function ownIn(message: ConsumeMessage): HeaderTable {
  const all = Object.entries(headerTable(message))
  return Object.fromEntries(
    all.filter(([name]) => name.startsWith('x-mersal-') && name !== ownHeaders.again),
  )
}

/** `again`: it may be in its partition already. */
type MoveOne = (message: ConsumeMessage, again: boolean) => Promise<Answer>

/** What is to be answered for a message: it is where it should be, can never be, or stays. */
function mover(
  { mover: moves, settler, settings }: SplitterPorts,
  queue: string,
  { channel: { lost }, stopping }: Reading,
): MoveOne {
  const lanes = keyLanes()
  const givingUp = linkAbort(lost)
  givingUp.follow(() => givingUp[Symbol.dispose]())
  const moveNow: MoveOne = async (message, again) => {
    const arrival = arrivalOf(queue, message)
    const known = { ...passing(arrival), attempt: arrival.base }
    const target = partitionQueueOf(queue, partitionFor(message, settings.partitions))
    const hold: Hold = { queue, message, arrival, known, answer() {}, lost, givingUp, stopping }
    // What can go nowhere holds its key.
    while (!stopping.aborted && !lost.aborted) {
      const { kind } = await moves.move(hold, planOf(message, target, again))
      if (kind === 'moved') return 'ack'
      if (kind !== 'impossible') continue
      // Without its headers it would be another message. As a dead letter it keeps what fits.
      const how = await settler.answerTo(hold, tooLarge())
      if (how !== undefined && how !== 'requeue') return how
    }
    return 'requeue'
  }
  return (message, again) => {
    let answer: Answer = 'requeue'
    const work = async (): Promise<void> => {
      answer = await moveNow(message, again)
    }
    return lanes.run(keyOf(message), work).then(() => answer)
  }
}

/** With all of its headers, and with the mark if there is room for it. */
function planOf(
  message: ConsumeMessage,
  target: string,
  again: boolean,
): Parameters<Mover['move']>[1] {
  const plain: CopyTo = { target, headers: ownIn(message), dead: false }
  const marked = { ...plain, headers: { ...plain.headers, [ownHeaders.again]: '1' } }
  const steps = again ? [marked, plain] : [plain]
  const next = (): CopyTo => steps[0] ?? plain
  const noRoom = (): CopyTo | undefined => {
    steps.shift()
    return steps[0]
  }
  return { next, aside: next, noRoom }
}
