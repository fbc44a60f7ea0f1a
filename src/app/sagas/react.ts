import { MersalError } from '../../core/errors/errors.ts'
import { checkPartitionKey } from '../../core/messages/validation.ts'
import type { SagaInstance, SagaKey, SagaStore } from '../../core/records/sagas.ts'
import type { Logger } from '../../core/telemetry.ts'
import type { Clock } from '../../lib/async/clock.ts'
import { uuidv7 } from '../../lib/uuid.ts'
import { reject } from '../receive/steer.ts'
import type { Handler, HandlerContext } from '../types.ts'
import type { SagaType } from './definition.ts'
import type { Reaction, Reactions } from './reactions.ts'
import { note, type Pending, readPending, writePending } from './pending.ts'
import { assertKnownVersion, readState, stateError, writeState } from './state.ts'
import { collectTimeouts, type TimeoutBody, type Timeouts, timeoutType } from './timeouts.ts'
import type { SagaContext } from './types.ts'

export interface SagaPorts<Tx> {
  readonly app: string
  readonly store: SagaStore<Tx>
  readonly logger: Logger
  readonly clock: Clock
}

/** One saga of an app. */
export interface Saga<Tx> {
  readonly type: SagaType<unknown>
  readonly reactions: Reactions<Tx>
}

/** An instance that is loaded and locked. */
interface Loaded {
  readonly key: SagaKey
  readonly instance: SagaInstance | undefined
}

/** Handles a message of a saga: one instance, changed in the transaction of the message. */
export function handlerOf<Tx>(
  ports: SagaPorts<Tx>,
  saga: Saga<Tx>,
  { keyOf, react, missing }: Reaction<Tx>,
): Handler<unknown, Tx> {
  return async (body, context) => {
    const key = {
      app: ports.app,
      saga: saga.type.name,
      key: await checkedKey(saga, keyOf(body, context.message)),
    }
    const instance = await ports.store.load(context.tx, key)
    if (instance === undefined && missing !== 'start')
      return await noInstance(ports, key, context, missing)
    await change(ports, saga, { key, instance }, context, (state, given) =>
      react(state, body, given),
    )
  }
}

/** Handles a timeout. One that is no longer wanted is dropped. */
export function timeoutHandlerOf<Tx>(
  ports: SagaPorts<Tx>,
  saga: Saga<Tx>,
): Handler<TimeoutBody, Tx> {
  return async ({ key: text, instance: id, name, number }, context) => {
    const key = { app: ports.app, saga: saga.type.name, key: text }
    const instance = await ports.store.load(context.tx, key)
    const pending = readPending(instance)
    if (instance?.id !== id || pending.numbers.get(name) !== number) {
      const fields = { app: ports.app, saga: saga.type.name, key: text, timeout: name }
      ports.logger.debug(
        fields,
        'a timeout is dropped: its instance has ended, or has taken it back',
      )
      if (instance === undefined) await ports.store.store(context.tx, key, undefined)
      return
    }
    const react = saga.reactions.timeouts.get(name)
    if (react === undefined) unknownTimeout(saga, instance, name)
    pending.numbers.delete(name)
    const without = { ...instance, timeouts: writePending(pending) }
    await change(ports, saga, { key, instance: without }, context, (state, given) =>
      react(state, undefined, given),
    )
  }
}

/** The new program may know it, and has raised the version of what it has stored. */
function unknownTimeout<Tx>({ type }: Saga<Tx>, instance: SagaInstance, name: string): never {
  assertKnownVersion(type, instance.version)
  const text = `the saga '${type.name}' has no on.timeout('${name}')`
  return reject(new MersalError('MERSAL_UNKNOWN_TYPE', text))
}

async function checkedKey<Tx>({ type }: Saga<Tx>, given: unknown): Promise<string> {
  const key = await given
  try {
    checkPartitionKey(key)
    return key as string
  } catch (cause) {
    const text = `the message has no key for the saga '${type.name}': the key function must return 1 to 255 bytes of text`
    return reject(new MersalError('MERSAL_SAGA_KEY', text, { cause, details: { saga: type.name } }))
  }
}

async function noInstance<Tx>(
  { app, logger, store }: SagaPorts<Tx>,
  of: SagaKey,
  { message, tx }: HandlerContext<Tx>,
  missing: 'ignore' | 'retry' | 'dead',
): Promise<void> {
  const { saga, key } = of
  const text = `'${message.type}' is for the saga '${saga}', which has no instance with this key`
  const error = (): MersalError =>
    new MersalError('MERSAL_SAGA_MISSING', text, { details: { saga, key } })
  switch (missing) {
    case 'ignore':
      logger.info(
        { app, saga, key, id: message.id, type: message.type },
        'a message found no instance of its saga',
      )
      return await store.store(tx, of, undefined)
    case 'retry':
      throw error()
    case 'dead':
      return reject(error())
    default:
      return missing satisfies never
  }
}

/** Calls the function of the user and stores what became of the instance. */
async function change<Tx>(
  ports: SagaPorts<Tx>,
  { type, reactions }: Saga<Tx>,
  { key, instance }: Loaded,
  context: HandlerContext<Tx>,
  react: (state: unknown, context: SagaContext<Tx>) => unknown,
): Promise<void> {
  const state = instance === undefined ? undefined : await readState(type, instance)
  const asked = collectTimeouts(type.name, new Set(reactions.timeouts.keys()))
  let completed = false
  // The object of the handler itself, so that it can be joined.
  const given: SagaContext<Tx> = Object.assign(context, {
    key: key.key,
    timeout: asked.timeout,
    cancelTimeout: asked.cancelTimeout,
    complete() {
      asked.assertOpen('complete()')
      completed = true
    },
  })
  let next: unknown
  try {
    next = await react(state, given)
  } finally {
    asked.end()
  }
  if (completed) return ports.store.store(context.tx, key, undefined)
  if (next === undefined && instance === undefined)
    throw stateError(type, 'on.start must return it, or call complete()')
  const id = instance?.id ?? uuidv7(ports.clock.now())
  const pending = readPending(instance)
  note(pending, asked.timeouts)
  const kept = await stored(type, next, instance)
  await ports.store.store(context.tx, key, { id, ...kept, timeouts: writePending(pending) })
  await sendTimeouts(type, context, { key: key.key, instance: id }, asked.timeouts, pending)
}

async function stored(
  type: SagaType<unknown>,
  next: unknown,
  instance: SagaInstance | undefined,
): Promise<Pick<SagaInstance, 'version' | 'state'>> {
  if (next === undefined && instance !== undefined)
    return { version: instance.version, state: instance.state }
  return { version: type.version, state: await writeState(type, next) }
}

async function sendTimeouts<Tx>(
  { name: saga }: SagaType<unknown>,
  { sendLocal }: HandlerContext<Tx>,
  of: Pick<TimeoutBody, 'key' | 'instance'>,
  { wanted }: Timeouts,
  { numbers }: Pending,
): Promise<void> {
  const type = timeoutType(saga)
  for (const [name, delayMs] of wanted)
    await sendLocal(type, { ...of, name, number: numbers.get(name) ?? 0 }, { delayMs })
}
