/** The ports of an app, with every action in the history. */
import type { CommitLog } from '../../src/core/commit-log.ts'
import type { OutgoingMessage } from '../../src/core/messages/message.ts'
import type { OutboxStorage, WrittenRow } from '../../src/core/outbox.ts'
import type { Store } from '../../src/core/store.ts'
import type { ManyTracker } from '../../src/core/tracker.ts'
import type { Delivery, PublishOutcome, Transport } from '../../src/core/transport.ts'
import { errorText, type Held, type History, now } from './history.ts'
import { headers } from './plan.ts'

/** Under which claim this process holds a message, by the id of the message. */
type Holdings = Map<string, Held>

export interface Noted<Tx> {
  readonly store: Store<Tx>
  readonly transport: Transport
}

export function noted<Tx>(
  store: Store<Tx>,
  transport: Transport,
  history: History,
  life: string,
): Noted<Tx> {
  const holdings: Holdings = new Map()
  return {
    store: {
      ...store,
      outbox: notedOutbox(store.outbox, history, holdings),
      tracker: notedTracker(store.tracker, history),
      ...(store.commitLog === undefined
        ? {}
        : { commitLog: notedLog(store.commitLog, history, holdings) }),
    },
    transport: notedTransport(transport, history, holdings, life),
  }
}

function notedOutbox<Tx>(
  outbox: OutboxStorage<Tx>,
  history: History,
  holdings: Holdings,
): OutboxStorage<Tx> {
  let calls = 0
  const saved = (
    messages: readonly OutgoingMessage[],
    rows: readonly WrittenRow[],
    from: number,
    token: string | undefined,
  ): void => {
    const held = rows.flatMap((row, index): Held[] =>
      row.kind === 'born-claimed'
        ? [[messages[index]?.id ?? '', row.position.toString(), token ?? '']]
        : [],
    )
    for (const each of held) holdings.set(each[0], each)
    if (held.length > 0) history.note({ op: 'save', phase: 'ok', from, rows: held })
  }
  const noteLast: OutboxStorage<Tx>['saveLast'] = (tx, messages, options) => {
    const from = now()
    const later = outbox.saveLast?.(tx, messages, options)
    return (
      later && {
        saved: later.saved.then(
          (rows) => (saved(messages, rows, from, options?.express?.token), rows),
        ),
      }
    )
  }
  return {
    ...outbox,
    ...(outbox.saveLast === undefined ? {} : { saveLast: noteLast }),
    async save(tx, messages, options) {
      const from = now()
      const rows = await outbox.save(tx, messages, options)
      saved(messages, rows, from, options?.express?.token)
      return rows
    },
    async claim(request) {
      const { token } = request
      const from = now()
      try {
        const claimed = await outbox.claim(request)
        const held = claimed.map(
          ({ message, position }): Held => [message.id, position.toString(), token],
        )
        for (const each of held) holdings.set(each[0], each)
        if (held.length > 0) history.note({ op: 'claim', phase: 'ok', from, rows: held })
        return claimed
      } catch (error) {
        history.note({ op: 'claim', phase: 'fail', token, error: errorText(error) })
        throw error
      }
    },
    async settle(settlements) {
      const call = ++calls
      const rows = settlements.map(
        ({ kind, position, token }) => [kind, position.toString(), token] as const,
      )
      history.note({ op: 'settle', phase: 'invoke', call, rows })
      try {
        const result = await outbox.settle(settlements)
        history.note({ op: 'settle', phase: 'ok', call, stale: result.stale })
        // The harness may not hold more than what is in flight, or it hides what the code under
        // test holds.
        const done = new Set(rows.map(([, position, token]) => `${position} ${token}`))
        for (const [id, [, position, token]] of holdings)
          if (done.has(`${position} ${token}`)) holdings.delete(id)
        return result
      } catch (error) {
        history.note({ op: 'settle', phase: 'fail', call, stale: 0, error: errorText(error) })
        throw error
      }
    },
  }
}

/** What the log tells is held by whoever reads it. */
function notedLog(log: CommitLog, history: History, holdings: Holdings): CommitLog {
  return {
    ...log,
    follow: (reader, options) =>
      log.follow(
        {
          committed(transaction) {
            const rows = transaction.rows.map(
              ({ message, position, token }): Held => [message.id, position.toString(), token],
            )
            for (const held of rows) holdings.set(held[0], held)
            history.note({ op: 'told', phase: 'ok', from: now(), rows })
            return reader.committed(transaction)
          },
          others: () => reader.others(),
        },
        options,
      ),
  }
}

function notedTracker<Tx>(tracker: Store<Tx>['tracker'], history: History): Store<Tx>['tracker'] {
  return {
    async track(tx, key) {
      const outcome = await tracker.track(tx, key)
      history.note({ op: 'track', phase: 'ok', id: key.messageId, outcome })
      return outcome
    },
    ...(tracker.many === undefined ? {} : { many: notedMany(tracker.many, history) }),
    ...(tracker.endings === undefined ? {} : { endings: tracker.endings }),
    prune: (options) => tracker.prune(options),
  }
}

function notedMany<Tx>(many: ManyTracker<Tx>, history: History): ManyTracker<Tx> {
  return {
    async track(tx, keys) {
      const tracked = await many.track(tx, keys)
      tracked.forEach((outcome, index) =>
        history.note({ op: 'track', phase: 'ok', id: keys.messageIds[index] as string, outcome }),
      )
      return tracked
    },
  }
}

const phases = { confirmed: 'ok', refused: 'fail', unavailable: 'fail', unknown: 'info' } as const

/** Every publish gets a number of its own, which travels with the message. */
function notedTransport(
  transport: Transport,
  history: History,
  holdings: Holdings,
  life: string,
): Transport {
  let publishes = 0
  const publish: Transport['publish'] = (messages, options) => {
    const numbers = messages.map(() => `${life}.${++publishes}`)
    const signed = messages.map((message, index) => ({
      ...message,
      headers: { ...message.headers, [headers.publish]: numbers[index] ?? '' },
    }))
    for (const [index, { id }] of messages.entries()) {
      const held = holdings.get(id) ?? ([id, '', ''] as const)
      history.note({ op: 'publish', phase: 'invoke', publish: numbers[index] ?? '', held })
    }
    return transport
      .publish(signed, options)
      .map((answer, index) => answered(answer, numbers[index] ?? ''))
  }
  const answered = async (
    answer: Promise<PublishOutcome>,
    number: string,
  ): Promise<PublishOutcome> => {
    const outcome = await answer
    const error = outcome.kind === 'confirmed' ? {} : { error: errorText(outcome.error) }
    history.note({
      op: 'publish',
      phase: phases[outcome.kind],
      publish: number,
      kind: outcome.kind,
      ...error,
    })
    return outcome
  }
  return {
    name: transport.name,
    features: transport.features,
    publish,
    subscribe: (...given) => transport.subscribe(...given),
    consume: (consumption, onDelivery) =>
      transport.consume(consumption, async (delivery: Delivery) => {
        const { id } = delivery.message
        history.note({ op: 'handle', phase: 'invoke', id, attempt: delivery.attempt })
        const disposition = await onDelivery(delivery)
        const error = 'error' in disposition ? { error: errorText(disposition.error) } : {}
        history.note({ op: 'handle', phase: 'ok', id, disposition: disposition.kind, ...error })
        return disposition
      }),
    [Symbol.asyncDispose]: () => transport[Symbol.asyncDispose](),
  }
}
