import { checkChoice, checkNumber, invalidOption } from '../../core/options.ts'
import { isName, nameRule } from '../../core/messages/validation.ts'

/** What all queues in databases can be told. */
export interface QueueSettings {
  /** Largest body plus headers, in bytes. Default 16 MiB. */
  readonly maxMessageBytes: number
  /**
   * What becomes of an event that no queue takes: `refuse` answers `unroutable`, `discard` answers
   * `confirmed`. Default 'refuse'.
   */
  readonly eventsWithoutSubscribers: 'refuse' | 'discard'
  /**
   * A message whose consumer has died is delivered again after this time, in milliseconds. Renewed
   * while the consumer lives. From 30 to a day. Default 30000.
   */
  readonly visibilityMs: number
  /**
   * Safety net: consumers look at least this often, in milliseconds. From 1 to an hour. Default
   * 1000.
   */
  readonly pollIntervalMs: number
}

export const queueOptionNames: readonly (keyof QueueSettings)[] = [
  'maxMessageBytes',
  'eventsWithoutSubscribers',
  'visibilityMs',
  'pollIntervalMs',
]

/** Fills in the defaults; throws `MERSAL_INVALID_OPTIONS` on anything else than documented. */
export function queueSettings(
  where: string,
  given: Partial<Record<keyof QueueSettings, unknown>>,
  { largestBytes }: { readonly largestBytes: number },
): QueueSettings {
  return {
    maxMessageBytes: checkNumber(`${where}.maxMessageBytes`, given.maxMessageBytes, {
      default: 16 * 1024 * 1024,
      min: 1,
      max: largestBytes,
    }),
    eventsWithoutSubscribers: checkChoice(
      `${where}.eventsWithoutSubscribers`,
      given.eventsWithoutSubscribers,
      ['refuse', 'discard'] as const,
      'refuse',
    ),
    visibilityMs: checkNumber(`${where}.visibilityMs`, given.visibilityMs, {
      default: 30_000,
      min: 30,
      max: 86_400_000,
    }),
    pollIntervalMs: checkNumber(`${where}.pollIntervalMs`, given.pollIntervalMs, {
      default: 1000,
      min: 1,
      max: 3_600_000,
    }),
  }
}

/** Throws unless each of these can name a queue or a topic. */
export function checkNames(names: readonly string[]): void {
  if (!names.every((name) => isName(name)))
    throw invalidOption('queue', `a queue or topic needs a name with ${nameRule}`)
}
