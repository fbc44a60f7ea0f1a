import { MersalError } from '../../core/errors/errors.ts'
import { jsonSerializer } from '../../core/messages/serializer.ts'
import type { SagaInstance } from '../../core/records/sagas.ts'
import { parseJson } from '../../lib/json.ts'
import { encodeBody, validateBody } from '../send/body.ts'
import { checkRoundTrip } from '../send/round-trip.ts'
import type { SagaType } from './definition.ts'

/**
 * Reads the state of an instance: brings it up to the present version, then checks it. What is
 * returned is frozen, since only the state that is returned is stored.
 *
 * Throws `MERSAL_SAGA_STATE`, or `MERSAL_FUTURE_VERSION`.
 */
export async function readState<State>(
  saga: SagaType<State>,
  { state, version }: Pick<SagaInstance, 'state' | 'version'>,
): Promise<unknown> {
  assertKnownVersion(saga, version)
  try {
    const stored = parseJson(state)
    const present = version < saga.version ? await saga.upgrade?.(stored, version) : stored
    return frozen(await validateBody(saga.state, present))
  } catch (cause) {
    const text = `what is stored cannot be read, and stays as it is: correct the schema or upgrade`
    throw stateError(saga, text, cause)
  }
}

/** Throws `MERSAL_FUTURE_VERSION`, which lets the message wait for the new program. */
export function assertKnownVersion(
  { name, version: known }: Pick<SagaType<unknown>, 'name' | 'version'>,
  version: number,
): void {
  if (version <= known) return
  const text = `state of the saga '${name}': it was stored by version ${version} of the saga, and this program knows only version ${known}: start the new program everywhere`
  const details = { saga: name, version, known }
  throw new MersalError('MERSAL_FUTURE_VERSION', text, { details })
}

/** Checks the next state and returns it as JSON. Throws `MERSAL_SAGA_STATE`. */
export async function writeState<State>(saga: SagaType<State>, next: unknown): Promise<string> {
  try {
    const valid = await validateBody(saga.state, next)
    const bytes = encodeBody(jsonSerializer, saga.state, valid)
    await checkRoundTrip(jsonSerializer, saga.state, valid, bytes)
    return Buffer.from(bytes).toString()
  } catch (cause) {
    throw stateError(saga, 'what the saga returned cannot be stored', cause)
  }
}

export function stateError(
  { name }: Pick<SagaType<unknown>, 'name'>,
  text: string,
  cause?: unknown,
): MersalError {
  return new MersalError('MERSAL_SAGA_STATE', `state of the saga '${name}': ${text}`, {
    ...(cause === undefined ? {} : { cause }),
    details: { saga: name },
  })
}

/** Freezes what JSON can hold; whatever else a schema has made stays as it is. */
function frozen(value: unknown): unknown {
  if (typeof value !== 'object' || value === null || Object.isFrozen(value)) return value
  const prototype: unknown = Object.getPrototypeOf(value)
  if (!Array.isArray(value) && prototype !== Object.prototype && prototype !== null) return value
  for (const inner of Object.values(value)) frozen(inner)
  return Object.freeze(value)
}
