import { checkBoolean, checkNumber, checkOptions } from '../../../core/options.ts'
import { MOST_MESSAGES } from './bundle-format.ts'

/**
 * Several messages to one queue in one broker message. The consumers of the queue must be able to
 * open it: apps of this version or later are.
 */
export interface BundleOptions {
  /** Most messages in a bundle, 2 to 1000. Default 10. */
  readonly messages?: number
  /**
   * Most bytes of a bundle; a message that does not fit travels alone. 1 KiB to `maxMessageBytes`.
   * Default 128 KiB.
   */
  readonly bytes?: number
  /**
   * Events of one type, too. Then every program that reads the events exchange must open bundles.
   * Default false.
   */
  readonly events?: boolean
}

export interface BundleSettings {
  readonly messages: number
  readonly bytes: number
  readonly events: boolean
}

/** `undefined`: nothing is bundled. */
export function checkBundles(
  given: BundleOptions | undefined,
  maxMessageBytes: number,
): BundleSettings | undefined {
  if (given === undefined) return undefined
  checkOptions('rabbitmq.bundles', given, [
    'messages',
    'bytes',
    'events',
  ] satisfies (keyof BundleOptions)[])
  return {
    messages: checkNumber('rabbitmq.bundles.messages', given.messages, {
      default: 10,
      min: 2,
      max: MOST_MESSAGES,
    }),
    bytes: checkNumber('rabbitmq.bundles.bytes', given.bytes, {
      default: Math.min(128 << 10, maxMessageBytes),
      min: 1024,
      max: maxMessageBytes,
    }),
    events: checkBoolean('rabbitmq.bundles.events', given.events) ?? false,
  }
}
