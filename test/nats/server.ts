import { natsProblem, openPrivateNats, type PrivateNats } from '../../scripts/servers/nats.ts'
import { isPresent } from '../../scripts/servers/present.ts'

export { openPrivateNats, type PrivateNats } from '../../scripts/servers/nats.ts'

/**
 * False, said loudly, when there is no NATS here; with CI=true that is a failure instead. `any`: a
 * server that is given will do; `private`: it is to be killed.
 */
export function natsIsHere(which: 'any' | 'private' = 'private'): boolean {
  const isGiven = which === 'any' && process.env['MERSAL_TEST_NATS_URL'] !== undefined
  return isGiven || isPresent(natsProblem())
}

/** A server for tests that end nothing: the one of `MERSAL_TEST_NATS_URL`, or a private one. */
export async function openNats(): Promise<Pick<PrivateNats, 'url'> & AsyncDisposable> {
  const url = process.env['MERSAL_TEST_NATS_URL']
  if (url === undefined) return openPrivateNats()
  return { url, [Symbol.asyncDispose]: () => Promise.resolve() }
}
