import { headerNames } from '../../core/messages/message.ts'
import type { MessageState } from '../../core/operations.ts'
import { systemClock } from '../../lib/async/clock.ts'
import type { Remembered, Step } from '../live/journal.ts'
import type { Source } from '../sources.ts'
import { lettersOfWay, type WayLetter } from './way-letters.ts'
import { type Desk, type Route, textOf } from './route.ts'
import { flag, list, number, object, orNull, text, time } from './schemas.ts'

/** Most messages of one way, and most questions to databases about them. */
const MOST = { messages: 100, consumers: 20, questions: 300, ms: 3000 }

const step = object({
  at: time,
  what: text,
  app: text,
  place: text,
  outcome: orNull(text),
  ms: orNull(number),
})
const message = object({
  id: text,
  type: orNull(text),
  causationId: orNull(text),
  steps: list(step),
  state: orNull(text),
  handledBy: list(text),
  letters: list(
    object({
      source: text,
      transport: orNull(text),
      queue: orNull(text),
      key: text,
      place: text,
      reason: text,
      diedAt: time,
    }),
  ),
})

export const way: Route = {
  method: 'GET',
  path: 'way',
  summary:
    'What became of the messages of one process: by what this process did lately, dead letters, and the inbox.',
  fields: {
    id: {
      kind: 'text',
      required: true,
      most: 200,
      text: 'Correlation id, or the id of a message.',
    },
  },
  answer: object({
    correlationId: text,
    messages: list(message),
    complete: flag,
    remembersSince: orNull(time),
  }),
  async run(call) {
    const { desk } = call
    const asked = textOf(call, 'id') ?? ''
    const known = desk.journal.find(asked)
    const correlationId = known[0]?.correlationId ?? asked
    const found = await lettersOfWay(desk, correlationId)
    const messages = gather(asked, known, found.letters)
    const shown = messages.slice(0, MOST.messages)
    const told = await askAbout(desk, shown)
    const remembers = desk.sources.some(({ kind }) => kind === 'app')
    return {
      correlationId,
      messages: shown.map((one, index) => ({ ...viewOf(one), ...told.answers[index] })),
      complete: found.complete && told.complete && shown.length === messages.length,
      remembersSince: remembers ? desk.journal.since : null,
    }
  },
}

interface Gathered extends Omit<Remembered, 'type'> {
  readonly type: string | undefined
  readonly letters: readonly WayLetter[]
}

/** The messages that are known, causes first as far as time tells; else the one that was asked for. */
function gather(
  asked: string,
  known: readonly Remembered[],
  letters: readonly WayLetter[],
): readonly Gathered[] {
  const ids = new Set([...known.map(({ id }) => id), ...letters.map(({ letter }) => letter.id)])
  if (ids.size === 0) ids.add(asked)
  return [...ids].map((id) => {
    const own = letters.filter(({ letter }) => letter.id === id)
    const entry = known.find((one) => one.id === id)
    const headers = own[0]?.letter.headers ?? {}
    return {
      id,
      type: entry?.type ?? own[0]?.letter.type,
      correlationId: entry?.correlationId ?? headers[headerNames.correlationId] ?? id,
      causationId: entry?.causationId ?? headers[headerNames.causationId],
      steps: entry?.steps ?? [],
      letters: own,
    }
  })
}

function viewOf({ id, type, causationId, steps, letters }: Gathered): object {
  return {
    id,
    type: type ?? null,
    causationId: causationId ?? null,
    steps: steps.map(stepView),
    letters: letters.map(({ source, transport, queue, letter }) => ({
      source,
      transport: transport ?? null,
      queue: queue ?? null,
      key: letter.key,
      place: letter.place,
      reason: letter.reason,
      diedAt: letter.diedAt,
    })),
  }
}

const stepView = ({ at, what, app, place, outcome, ms }: Step): object => ({
  at,
  what,
  app,
  place,
  outcome: outcome ?? null,
  ms: ms ?? null,
})

interface Answer {
  readonly state: MessageState | null
  readonly handledBy: readonly string[]
}

/** What the databases know of each; bounded in questions and time. */
async function askAbout(
  desk: Desk,
  messages: readonly Gathered[],
): Promise<{ readonly answers: readonly Answer[]; readonly complete: boolean }> {
  const until = systemClock.monotonic() + MOST.ms
  const able = desk.sources.filter(({ store }) => store?.operations?.trace !== undefined)
  const inboxes = await Promise.all(able.map(consumersOf))
  let questions = 0
  let complete = true
  const answers: Answer[] = []
  for (const one of messages) {
    let state: MessageState | null = null
    const handledBy = new Set<string>()
    for (const [index, source] of able.entries()) {
      for (const consumer of consumersFor(one, inboxes[index] ?? [])) {
        if (questions >= MOST.questions || systemClock.monotonic() > until) {
          complete = false
          break
        }
        questions++
        const told = await askOne(source, consumer, one.id)
        if (told === 'handled') handledBy.add(consumer)
        else if (told !== undefined && told !== 'left') state = told
        else if (told === 'left') state ??= 'left'
        else complete = false
      }
    }
    // Its row may be settled a moment after it has arrived.
    if (handledBy.size > 0 && state !== 'dead') state = 'handled'
    answers.push({ state, handledBy: [...handledBy] })
  }
  return { answers, complete }
}

/** Undefined: it cannot be asked now. */
async function askOne(
  { store, ready }: Source,
  consumer: string,
  messageId: string,
): Promise<MessageState | undefined> {
  try {
    await ready()
    return await store?.operations?.trace?.({ consumer, messageId })
  } catch {
    return undefined
  }
}

async function consumersOf({ store, ready, queues }: Source): Promise<readonly string[]> {
  try {
    await ready()
    const known = (await store?.operations?.consumers?.({ limit: MOST.consumers })) ?? []
    return known.length > 0 ? known : queues
  } catch {
    return []
  }
}

/** Of a command the owner of its queue; of an event all. */
function consumersFor({ steps, letters }: Gathered, all: readonly string[]): readonly string[] {
  const places = [...steps.map(({ place }) => place), ...letters.map(({ letter }) => letter.place)]
  const queues = places.flatMap((place) => /^[^/]+\/queue\/(.+)$/.exec(place)?.[1] ?? [])
  const topics = places.some((place) => /^[^/]+\/topic\//.test(place))
  const wanted = new Set(topics || queues.length === 0 ? [...queues, ...all] : queues)
  // Without an inbox the outbox still answers.
  return wanted.size === 0 ? ['-'] : [...wanted].slice(0, MOST.consumers)
}
