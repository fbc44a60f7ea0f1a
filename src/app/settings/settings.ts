import { isQueueName, queueNameRule } from '../../core/messages/validation.ts'
import {
  checkClock,
  checkLogger,
  checkNumber,
  checkOptions,
  checkRandom,
  invalidOption,
} from '../../core/options.ts'
import type { Logger } from '../../core/telemetry.ts'
import type { Clock, Random } from '../../lib/async/clock.ts'
import type { LifecycleHook, MersalOptions } from '../types.ts'
import { checkHooks } from './checks.ts'
import { type DatabaseSettings, databaseSettings } from './database.ts'
import { type MessageSettings, messageSettings } from './messages.ts'
import { type ReceivingSettings, receivingSettings } from './receiving.ts'
import { type Surroundings, surroundingsOf } from './surroundings.ts'
import { checkTenant } from './tenant.ts'

/** Options with every default filled in. */
export interface Settings<Tx>
  extends MessageSettings<Tx>,
    DatabaseSettings<Tx>,
    ReceivingSettings<Tx>,
    Tools {
  readonly name: string
  /** Undefined for an app that belongs to no tenant. */
  readonly tenant: string | undefined
  /** Undefined for an app that shares nothing. */
  readonly capacity: Surroundings['capacity'] | undefined
  readonly stopGraceMs: number
  readonly onStart: readonly LifecycleHook[]
  readonly onStop: readonly LifecycleHook[]
}

interface Tools {
  readonly logger: Logger
  readonly clock: Clock
  readonly random: Random
}

const known = [
  'name',
  'tenant',
  'transport',
  'store',
  'unitOfWork',
  'outbox',
  'idempotency',
  'routes',
  'bridges',
  'ambientSends',
  'sendOnly',
  'receive',
  'stopGraceMs',
  'incoming',
  'handling',
  'outgoing',
  'onStart',
  'onStop',
  'serializer',
  'serializers',
  'codecs',
  'wireFormat',
  'typeOf',
  'inheritHeaders',
  'checkBodies',
  'logger',
  'clock',
  'random',
] as const satisfies readonly (keyof MersalOptions<unknown>)[]

/** Fills in the defaults. Throws `MERSAL_INVALID_OPTIONS` on anything that could not work. */
export function appSettings<Tx>(options: MersalOptions<Tx>): Settings<Tx> {
  checkOptions('options', options, known)
  const { name } = options
  if (!isQueueName(name))
    throw invalidOption('name', `expected ${queueNameRule}; it also names the input queue`)
  const grace = { default: 8000, min: 0, max: 3_600_000 }
  const tools = toolsOf(options)
  return {
    name,
    tenant: options.tenant === undefined ? undefined : checkTenant('tenant', options.tenant),
    capacity: surroundingsOf(options)?.capacity,
    ...messageSettings(options),
    ...databaseSettings(options),
    ...receivingSettings(options, tools.logger),
    stopGraceMs: checkNumber('stopGraceMs', options.stopGraceMs, grace),
    onStart: checkHooks('onStart', options.onStart),
    onStop: checkHooks('onStop', options.onStop),
    ...tools,
  }
}

function toolsOf<Tx>({ logger, clock, random }: MersalOptions<Tx>): Tools {
  return {
    logger: checkLogger('logger', logger),
    clock: checkClock('clock', clock),
    random: checkRandom('random', random),
  }
}
