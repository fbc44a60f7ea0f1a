/** Deliberate bugs: what somebody might build who does not see why the real thing is as it is. */
import { randomUUID } from 'node:crypto'
import type { Envelope } from '../../src/core/messages/message.ts'
import type { MessageTracker } from '../../src/core/tracker.ts'
import type { Store } from '../../src/core/store.ts'
import type { Desk } from './desk.ts'
import type { Bug } from './plan.ts'

/** The store of an app with this bug. */
export function withBug(store: Store<unknown>, bug: Bug | undefined): Store<unknown> {
  switch (bug) {
    case 'state of its own':
      return stateOfItsOwn(store)
    case 'timeouts forgotten':
      return timeoutsForgotten(store)
    case 'no keys':
      return noKeys(store)
    case 'cancel at once':
      return cancelAtOnce(store)
    case 'no inbox':
    case 'reply at once':
    case undefined:
      return store
    default:
      return bug satisfies never
  }
}

export const forgetful = (tracker: MessageTracker<unknown>): MessageTracker<unknown> => ({
  track: () => Promise.resolve('first'),
  prune: (options) => tracker.prune(options),
})

/** The state is stored after the transaction of the message, in one of its own. */
function stateOfItsOwn(store: Store<unknown>): Store<unknown> {
  const { sagas } = store
  if (sagas === undefined) return store
  const waiting = new WeakMap<object, () => Promise<void>>()
  return {
    ...store,
    unitOfWork: async (work, options) => {
      let later: (() => Promise<void>) | undefined
      const result = await store.unitOfWork(async (tx, ...rest) => {
        const value = await work(tx, ...rest)
        later = waiting.get(tx as object)
        return value
      }, options)
      if (later !== undefined) await later()
      return result
    },
    sagas: {
      ...sagas,
      store(tx, key, instance) {
        const write = (): Promise<void> =>
          store.unitOfWork<void>(async (own) => {
            await sagas.load(own, key)
            await sagas.store(own, key, instance)
          })
        waiting.set(tx as object, write)
        return Promise.resolve()
      },
    },
  }
}

/** Timeouts are timers of the process, which nobody finds again: they are never written. */
function timeoutsForgotten(store: Store<unknown>): Store<unknown> {
  const { outbox } = store
  const rest = Object.entries(outbox).filter(([name]) => name !== 'saveLast')
  const isTimeout = ({ type }: { readonly type: string }): boolean => type.endsWith('.timeout')
  return {
    ...store,
    outbox: {
      ...(Object.fromEntries(rest) as unknown as typeof outbox),
      async save(tx, messages, options) {
        const left = messages.filter((message) => !isTimeout(message))
        const rows = [...(await outbox.save(tx, left, options))]
        const none = { kind: 'row', position: 0n } as const
        return messages.map((message) => (isTimeout(message) ? none : (rows.shift() ?? none)))
      },
    },
  }
}

/** The key is not kept with the work. */
function noKeys(store: Store<unknown>): Store<unknown> {
  const { once } = store
  if (once === undefined) return store
  const claim = (): Promise<{ kind: 'first' }> => Promise.resolve({ kind: 'first' })
  return { ...store, once: { ...once, claim, keep: () => Promise.resolve() } }
}

/** What is taken back is taken back at once, whatever becomes of the transaction. */
function cancelAtOnce(store: Store<unknown>): Store<unknown> {
  const { outbox } = store
  const { waiting } = outbox
  const cancel = waiting?.cancel?.bind(waiting)
  if (waiting === undefined || cancel === undefined) return store
  const atOnce: typeof cancel = (_, id) => store.unitOfWork((own) => cancel(own, id))
  return { ...store, outbox: { ...outbox, waiting: { ...waiting, cancel: atOnce } } }
}

/** The reply goes before anybody knows whether the transaction commits. */
export async function replyAtOnce(
  { transport }: Desk,
  { id, headers }: Envelope,
  cents: number,
): Promise<void> {
  const reply = {
    id: randomUUID(),
    type: 'mersal.reply',
    to: { kind: 'queue', transport: 'default', name: headers['reply-to'] ?? '' } as const,
    partitionKey: undefined,
    headers: { 'causation-id': id, 'content-type': 'application/json' },
    body: Buffer.from(JSON.stringify({ cents })),
  }
  await Promise.all(transport.publish([reply as never]))
}
