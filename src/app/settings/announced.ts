import { channel } from 'node:diagnostics_channel'

const made = channel('mersal:app')

/**
 * The options of an app that is being made. A tool that listens to `mersal:app` in this process,
 * such as `mersal prove`, may put a store or a transport of its own in the place of the given one.
 */
export function announced<Options extends object>(options: Options): Options {
  if (!made.hasSubscribers || options === null || typeof options !== 'object') return options
  const own = { ...options }
  made.publish(own)
  return own
}
