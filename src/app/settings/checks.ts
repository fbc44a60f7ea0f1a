import { checkNamed, checkOptions, checkShape, invalidOption } from '../../core/options.ts'
import type { Step } from '../../core/pipeline.ts'
import type { Transport } from '../../core/transport.ts'
import { isName, isQueueName, nameRule, queueNameRule } from '../../core/messages/validation.ts'
import { suggest } from '../../lib/suggest.ts'
import { printable } from '../../lib/text.ts'
import type { RouteEntry } from '../send/routing.ts'
import type { LifecycleHook, Route } from '../types.ts'

/** Message type name → where it goes; every transport must be known. */
export function checkRoutes(
  routes: Readonly<Record<string, Route>> | undefined,
  transports: ReadonlyMap<string, Transport>,
): ReadonlyMap<string, RouteEntry> {
  const checked = new Map<string, RouteEntry>()
  if (routes === undefined) return checked
  checkNamed('routes', routes, 'a route')
  for (const [type, route] of Object.entries(routes)) {
    const field = `routes['${printable(type)}']`
    if (!isName(type))
      throw invalidOption(field, `expected the name of a message type: ${nameRule}`)
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
    throw invalidOption(field, 'names neither a queue nor a transport')
  if (queue !== undefined && !isQueueName(queue))
    throw invalidOption(`${field}.queue`, `expected ${queueNameRule}`)
  if (transport !== undefined && typeof transport !== 'string')
    throw invalidOption(`${field}.transport`, 'expected the name of a transport')
  if (transport !== undefined && !transports.has(transport)) {
    const near = suggest(transport, [...transports.keys()])
    const remedy =
      near === undefined
        ? `add it to bridges; known are ${[...transports.keys()].join(', ')}`
        : `did you mean '${near}'?`
    throw invalidOption(`${field}.transport`, `there is no transport of that name; ${remedy}`)
  }
  return { queue, transport }
}

/** Throws unless these are pipeline steps with different names. */
export function checkSteps<Steps extends readonly Step<never, unknown>[]>(
  field: string,
  steps: Steps | undefined,
): Steps | readonly [] {
  if (steps === undefined) return []
  if (!Array.isArray(steps)) throw invalidOption(field, 'expected an array of steps')
  const names = new Set<unknown>()
  for (const [index, step] of (steps as readonly Step<never, unknown>[]).entries()) {
    checkShape(`${field}[${index}]`, step, ['run'])
    if (typeof step.name !== 'string' || step.name === '')
      throw invalidOption(`${field}[${index}].name`, 'expected text')
    if (names.has(step.name))
      throw invalidOption(`${field}[${index}].name`, `'${printable(step.name)}' is used twice`)
    names.add(step.name)
  }
  return steps
}

/** Throws unless these are functions. */
export function checkHooks(
  field: string,
  hooks: readonly LifecycleHook[] | undefined,
): readonly LifecycleHook[] {
  if (hooks === undefined) return []
  if (!Array.isArray(hooks)) throw invalidOption(field, 'expected an array of functions')
  for (const [index, hook] of (hooks as readonly unknown[]).entries()) {
    if (typeof hook !== 'function')
      throw invalidOption(`${field}[${index}]`, `expected a function, got ${typeof hook}`)
  }
  return [...hooks]
}
