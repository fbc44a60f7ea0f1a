import { MersalError } from '../../../core/errors/errors.ts'

type QueueArguments = Readonly<Record<string, string | number | boolean>>

const FIELD = 'rabbitmq.queueArguments'

/** Arguments that make a queue lose messages, or that this transport sets itself. */
const refused: Readonly<Record<string, string>> = {
  'x-message-ttl': 'it makes the broker remove messages that nobody has handled',
  'x-expires': 'it makes the broker remove the queue together with its messages',
  'x-queue-mode': 'use the policies of the broker',
  'x-queue-type': "use the option 'queueType'",
  'x-single-active-consumer': "use the option 'singleActiveConsumer'",
  'x-dead-letter-exchange':
    'the dead letters of a queue go to the queue of the same name with .dead',
  'x-dead-letter-routing-key':
    'the dead letters of a queue go to the queue of the same name with .dead',
  'x-dead-letter-strategy': 'dead letters are moved at least once',
}

function invalid(name: string, text: string): MersalError {
  const field = `${FIELD}['${name.slice(0, 100)}']`
  return new MersalError('MERSAL_INVALID_OPTIONS', `${field}: ${text}`, { details: { field } })
}

/**
 * Refuses arguments with which the broker confirms messages and then drops them. With
 * `x-max-length` alone a full queue drops its oldest message and still confirms the new one.
 */
export function checkQueueArguments(given: unknown): QueueArguments {
  if (given === undefined) return {}
  if (typeof given !== 'object' || given === null || Array.isArray(given)) {
    throw new MersalError('MERSAL_INVALID_OPTIONS', `${FIELD}: expected an object with arguments`, {
      details: { field: FIELD },
    })
  }
  for (const [name, value] of Object.entries(given)) {
    if (!name.startsWith('x-')) throw invalid(name, "names of arguments begin with 'x-'")
    if (!['string', 'number', 'boolean'].includes(typeof value))
      throw invalid(name, 'expected text, a number or a boolean')
    if (Object.hasOwn(refused, name)) throw invalid(name, `not allowed: ${refused[name]}`)
    if (name === 'x-overflow' && value !== 'reject-publish') {
      throw invalid(
        name,
        "only 'reject-publish' is allowed: the others drop messages that were confirmed",
      )
    }
  }
  return { ...(given as QueueArguments) }
}
