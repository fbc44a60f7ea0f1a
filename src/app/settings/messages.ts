import { checkBoolean, checkChoice, checkTransports, invalidOption } from '../../core/options.ts'
import type { BodyCodec } from '../../core/messages/codec.ts'
import type { IncomingStep, OutgoingStep } from '../../core/pipeline.ts'
import type { Transport } from '../../core/transport.ts'
import { checkCodecs } from '../contracts/codecs.ts'
import { type ForeignSettings, foreignSettings } from '../contracts/foreign.ts'
import { type Serializers, serializersOf } from '../contracts/serializers.ts'
import type { CheckBodies } from '../send/outgoing.ts'
import type { RouteEntry } from '../send/routing.ts'
import type { MersalOptions } from '../types.ts'
import { checkRoutes, checkSteps } from './checks.ts'
import { inheritedHeaders } from './inherited-headers.ts'
import type { HandlingStep } from '../receive/handling-steps.ts'

/** Where messages go, and what happens to them on the way out and in. */
export interface MessageSettings<Tx> extends ForeignSettings {
  readonly sendOnly: boolean
  readonly ambientSends: boolean
  /** By name; the main one is called `default`. */
  readonly transports: ReadonlyMap<string, Transport>
  readonly routes: ReadonlyMap<string, RouteEntry>
  readonly incoming: readonly IncomingStep[]
  readonly handling: readonly HandlingStep<Tx>[]
  readonly outgoing: readonly OutgoingStep[]
  readonly serializers: Serializers
  readonly codecs: readonly BodyCodec[]
  /** Names of headers, in lower case. */
  readonly inheritHeaders: readonly string[]
  readonly checkBodies: CheckBodies
}

export function messageSettings<Tx>(options: MersalOptions<Tx>): MessageSettings<Tx> {
  const transports = transportsOf(options)
  const choices = ['always', 'first', 'never'] as const
  const preset = process.env['NODE_ENV'] === 'production' ? 'never' : 'first'
  return {
    sendOnly: checkBoolean('sendOnly', options.sendOnly) ?? false,
    ambientSends: checkBoolean('ambientSends', options.ambientSends) ?? true,
    transports,
    routes: checkRoutes(options.routes, transports),
    incoming: checkSteps('incoming', options.incoming),
    handling: checkSteps('handling', options.handling),
    outgoing: checkSteps('outgoing', options.outgoing),
    serializers: serializersOf(options),
    codecs: checkCodecs(options.codecs),
    ...foreignSettings(options),
    inheritHeaders: inheritedHeaders(options.inheritHeaders),
    checkBodies: checkChoice('checkBodies', options.checkBodies, choices, preset),
  }
}

function transportsOf<Tx>(options: MersalOptions<Tx>): ReadonlyMap<string, Transport> {
  if (options.transport === undefined) {
    const text =
      'is missing: give a broker, such as sqliteQueue() of mersal/sqlite or rabbitmq() of mersal/rabbitmq'
    throw invalidOption('transport', text)
  }
  return checkTransports('', options)
}
