import { MersalError } from '../../core/errors/errors.ts'
import { checkNumber, checkOptions, checkShape } from '../../core/options.ts'
import type { Step } from '../../core/pipeline.ts'
import type { Transport } from '../../core/transport.ts'
import { isName, isQueueName, nameRule, queueNameRule } from '../../core/messages/validation.ts'
import { suggest } from '../../lib/suggest.ts'
import { printable } from '../../lib/text.ts'
import type { RouteEntry } from '../send/routing.ts'
import type { Route } from '../types.ts'

function invalid(field: string, text: string): MersalError {
  return new MersalError('MERSAL_INVALID_OPTIONS', `${field}: ${text}`, { details: { field } })
}

/** Throws unless this is a transport whose features can be relied on. */
export function checkTransport(field: string, transport: Transport): Transport {
  checkShape(field, transport, ['publish', 'subscribe', 'consume'])
  checkDisposable(field, transport)
  checkShape(`${field}.features`, transport.features, [])
  if (transport.features.maxMessageBytes === undefined)
    throw invalid(`${field}.features.maxMessageBytes`, 'is missing')
  const limits = { default: 0, min: 1, max: Number.MAX_SAFE_INTEGER }
  if (transport.features.maxMessageBytes !== Number.POSITIVE_INFINITY) {
    checkNumber(`${field}.features.maxMessageBytes`, transport.features.maxMessageBytes, limits)
  }
  return transport
}

/** Throws unless the app can close it. */
export function checkDisposable(field: string, given: AsyncDisposable): void {
  if (typeof given[Symbol.asyncDispose] !== 'function')
    throw invalid(field, 'has no method [Symbol.asyncDispose]')
}

/** Message type name → where it goes; every transport must be known. */
export function checkRoutes(
  routes: Readonly<Record<string, Route>> | undefined,
  transports: ReadonlyMap<string, Transport>,
): ReadonlyMap<string, RouteEntry> {
  const checked = new Map<string, RouteEntry>()
  if (routes === undefined) return checked
  checkOptions('routes', routes, Object.keys(routes))
  for (const [type, route] of Object.entries(routes)) {
    const field = `routes['${printable(type)}']`
    if (!isName(type)) throw invalid(field, `expected the name of a message type: ${nameRule}`)
    checked.set(type, checkRoute(field, route, transports))
  }
  return checked
}

function checkRoute(
  field: string,
  given: Route,
  transports: ReadonlyMap<string, Transport>,
): RouteEntry {
  if (typeof given !== 'string') checkOptions(field, given, ['queue', 'transport'])
  const { queue, transport } =
    typeof given === 'string' ? { queue: given, transport: undefined } : given
  if (queue === undefined && transport === undefined)
    throw invalid(field, 'names neither a queue nor a transport')
  if (queue !== undefined && !isQueueName(queue))
    throw invalid(`${field}.queue`, `expected ${queueNameRule}`)
  if (transport !== undefined && typeof transport !== 'string')
    throw invalid(`${field}.transport`, 'expected the name of a transport')
  if (transport !== undefined && !transports.has(transport)) {
    const near = suggest(transport, [...transports.keys()])
    const remedy =
      near === undefined
        ? `add it to bridges; known are ${[...transports.keys()].join(', ')}`
        : `did you mean '${near}'?`
    throw invalid(`${field}.transport`, `there is no transport of that name; ${remedy}`)
  }
  return { queue, transport }
}

/** Throws unless these are pipeline steps with different names. */
export function checkSteps<Steps extends readonly Step<never, unknown>[]>(
  field: string,
  steps: Steps | undefined,
): Steps | readonly [] {
  if (steps === undefined) return []
  if (!Array.isArray(steps)) throw invalid(field, 'expected an array of steps')
  const names = new Set<unknown>()
  for (const [index, step] of (steps as readonly Step<never, unknown>[]).entries()) {
    checkShape(`${field}[${index}]`, step, ['run'])
    if (typeof step.name !== 'string' || step.name === '')
      throw invalid(`${field}[${index}].name`, 'expected text')
    if (names.has(step.name))
      throw invalid(`${field}[${index}].name`, `'${printable(step.name)}' is used twice`)
    names.add(step.name)
  }
  return steps
}
