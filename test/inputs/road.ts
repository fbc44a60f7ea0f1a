import { createHash, randomUUID } from 'node:crypto'
import type { OutgoingMessage } from '../../src/core/messages/message.ts'
import {
  command,
  type Envelope,
  event,
  Mersal,
  type OutgoingStep,
  type Sender,
} from '../../src/index.ts'
import { drain } from '../../src/testing/index.ts'
import { reject } from '../../src/app/receive/steer.ts'
import type { Result, Travelling, Types, Verdict } from './input.ts'
import { listLetters } from './listing.ts'
import { logger, type Place } from './places.ts'
import { allTextOf, checkPrototypes, checkRefusal } from './soundness.ts'

export const APP = 'inputs'
const types: Types = { Keep: command('inputs.keep'), Kept: event('inputs.kept') }
const LONGEST_WAIT_MS = 60_000

/** What must be the same at every station. */
interface Content {
  readonly type: string
  readonly headers: string
  readonly body: string
}

function contentOf({ type, headers, body }: Pick<Envelope, 'type' | 'headers' | 'body'>): Content {
  // Names travel in lower case.
  const lower = Object.entries(headers).map(([name, value]) => [name.toLowerCase(), value] as const)
  const sorted = lower.sort(([left], [right]) => (left < right ? -1 : 1))
  return {
    type,
    headers: JSON.stringify(sorted),
    body: createHash('sha256').update(body).digest('hex'),
  }
}

/** One message on its way. */
interface Parcel {
  readonly input: string
  readonly content: Content
  readonly to: 'handler' | 'dead letters' | 'outgoing dead letters' | 'anywhere'
}

/** Where a message came to rest, and as what. */
interface Rest {
  readonly place: Exclude<Parcel['to'], 'anywhere'>
  readonly content: Content
}

/** Runs the work and notes for how long nothing else could run meanwhile. */
export type Watch = <Done>(work: () => Promise<Done>) => Promise<Done>

/** A running app whose messages are followed by somebody who knows all of them. */
export interface Road extends AsyncDisposable {
  readonly app: Mersal<unknown>
  /** Sends every input on its way, waits until all of them have come to rest, and judges. */
  travel(generator: string, inputs: readonly Travelling[], watch: Watch): Promise<Result[]>
}

export async function openRoad(place: Place, inputs: readonly Travelling[]): Promise<Road> {
  const made = new Map<string, Content>()
  const rejecting = new Set<string>()
  const handled = new Map<string, Content>()
  const parcels = new Map<string, Parcel>()
  const boxes = [
    ['outgoing dead letters', undefined, new Set<string>()],
    ['dead letters', APP, new Set<string>()],
  ] as const
  const capture: OutgoingStep = {
    name: 'capture',
    run: async (_, next) => {
      const message = await next()
      made.set(message.id, contentOf(message))
      messages.set(message.id, { ...message, body: message.body.slice() })
      return message
    },
  }
  const messages = new Map<string, OutgoingMessage>()
  const app = new Mersal<unknown>({
    name: APP,
    store: place.store,
    transport: place.transport,
    outgoing: [capture],
    // What JSON makes of bodies is looked at here.
    checkBodies: 'never',
    outbox: { relay: { maxAttempts: 1, onDead: 'skip', pollIntervalMs: 100 } },
    receive: { maxDeliveries: 1, immediateRetries: 0 },
    logger,
  })
  const handler = (_: unknown, { message }: { readonly message: Envelope }): void => {
    if (rejecting.has(message.id)) reject('the input is not wanted')
    handled.set(message.id, contentOf(message))
  }
  const known = new Set<string>()
  for (const type of [types.Keep, types.Kept, ...inputs.flatMap((input) => typeOf(input))]) {
    if (!known.has(type.name)) app.handle(type, handler)
    known.add(type.name)
  }
  await app.start()

  async function send(label: string, input: Travelling): Promise<Verdict> {
    if (input.send === undefined || input.ends === undefined) return 'round trip'
    const { send: attempt, ends } = input
    const sent: string[] = []
    try {
      await app.transaction(async (tx, sender: Sender) => {
        await place.note(tx, label)
        const first = await attempt(sender, types)
        const second = await attempt(sender, types)
        rejecting.add(second)
        sent.push(first, second)
      })
    } catch (error) {
      if (ends === 'arrives')
        throw new Error(`was refused: ${allTextOf(error).slice(0, 800)}`, { cause: error })
      checkRefusal(error, ends)
      return 'refused'
    }
    if (ends !== 'arrives') throw new Error(`expected ${ends}, but it was taken`)
    const [first, second] = sent as [string, string]
    parcels.set(first, { input: label, content: made.get(first)!, to: 'handler' })
    parcels.set(second, { input: label, content: made.get(second)!, to: 'dead letters' })
    await store(
      label,
      { ...messages.get(first)!, to: { transport: 'default', kind: 'queue', name: 'nobody' } },
      'outgoing dead letters',
    )
    return 'round trip'
  }

  async function store(
    label: string,
    fields: Partial<OutgoingMessage>,
    to: Parcel['to'],
  ): Promise<void> {
    const base = { type: types.Keep.name, headers: {}, body: Buffer.from('{}') }
    const message = {
      ...base,
      to: { transport: 'default', kind: 'queue', name: APP } as const,
      ...fields,
      id: randomUUID(),
    }
    await place.store.unitOfWork((tx) => place.store.outbox.save(tx, [message]))
    parcels.set(message.id, { input: label, content: contentOf(message), to })
  }

  async function storeRow(label: string, { stored }: Travelling): Promise<Verdict> {
    if (stored === undefined) return 'round trip'
    try {
      await store(label, stored, 'anywhere')
      return 'round trip'
    } catch (error) {
      checkRefusal(error, 'MERSAL_INVALID_MESSAGE')
      return 'refused'
    }
  }

  async function rest(): Promise<ReadonlyMap<string, Rest>> {
    await drain([app], { signal: AbortSignal.timeout(LONGEST_WAIT_MS) })
    const found = new Map<string, Rest>()
    for (const [id, content] of handled) found.set(id, { place: 'handler', content })
    for (const [where, queue, shown] of boxes) {
      for (const letter of await listLetters(place, queue, shown)) {
        found.set(letter.id, {
          place: where,
          content: contentOf({ ...letter, body: Buffer.from(letter.bodyBase64, 'base64') }),
        })
      }
    }
    return found
  }

  return {
    app,
    async travel(generator, inputs, watch) {
      const results: Result[] = []
      const begun: { input: Travelling; label: string; verdict: Verdict }[] = []
      for (const [index, input] of inputs.entries()) {
        const label = `${generator} ${index}`
        try {
          const verdicts = await watch(async () => [
            await send(label, input),
            await storeRow(label, input),
          ])
          checkPrototypes()
          begun.push({
            input,
            label,
            verdict: verdicts.includes('refused') ? 'refused' : 'round trip',
          })
        } catch (error) {
          results.push({
            generator,
            adapter: place.adapter,
            input: input.name,
            verdict: 'failed',
            why: allTextOf(error).slice(0, 1500),
          })
        }
      }
      let found = await rest()
      // What is delayed comes a little later.
      for (let look = 0; look < 20 && [...parcels.keys()].some((id) => !found.has(id)); look++)
        found = await rest()
      const noted = await place.noted()
      for (const { input, label, verdict } of begun) {
        const why = judge(label, input, parcels, found, noted)
        results.push({
          generator,
          adapter: place.adapter,
          input: input.name,
          ...(why === undefined ? { verdict } : { verdict: 'failed', why }),
        })
      }
      return results
    },
    async [Symbol.asyncDispose]() {
      await app.stop()
    },
  }
}

function typeOf({ type }: Travelling): ReturnType<NonNullable<Travelling['type']>>[] {
  try {
    return type === undefined ? [] : [type()]
  } catch {
    return []
  }
}

function judge(
  label: string,
  input: Travelling,
  parcels: ReadonlyMap<string, Parcel>,
  found: ReadonlyMap<string, Rest>,
  noted: ReadonlySet<string>,
): string | undefined {
  if (input.send !== undefined && noted.has(label) !== (input.ends === 'arrives')) {
    return noted.has(label)
      ? 'the business row of a refused message was committed'
      : 'the business row is missing'
  }
  for (const [id, { input: owner, content, to }] of parcels) {
    if (owner !== label) continue
    const end = found.get(id)
    if (end === undefined) return `the message that should go to ${to} is lost`
    if (to !== 'anywhere' && end.place !== to)
      return `expected it in ${to}, found it in ${end.place}`
    for (const part of ['type', 'headers', 'body'] as const) {
      if (end.content[part] !== content[part]) {
        return `its ${part} changed on the way to ${end.place}: ${content[part].slice(0, 300)} became ${end.content[part].slice(0, 300)}`
      }
    }
  }
  return undefined
}
