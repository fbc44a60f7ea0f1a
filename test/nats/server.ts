import { natsProblem, openPrivateNats, type PrivateNats } from '../../scripts/servers/nats.ts'

export { openPrivateNats, type PrivateNats } from '../../scripts/servers/nats.ts'

/** False, said loudly, when there is no NATS here; with CI=true that is a failure instead. */
export function natsIsHere(): boolean {
  const problem = process.env['MERSAL_TEST_NATS_URL'] === undefined ? natsProblem() : undefined
  if (problem === undefined) return true
  if (process.env['CI'] === 'true') throw new Error(problem)
  process.stderr.write(`\nSKIPPED: ${problem}\n`)
  return false
}

/** A server for tests that end nothing: the one of `MERSAL_TEST_NATS_URL`, or a private one. */
export async function openNats(): Promise<Pick<PrivateNats, 'url'> & AsyncDisposable> {
  const url = process.env['MERSAL_TEST_NATS_URL']
  if (url === undefined) return openPrivateNats()
  return { url, [Symbol.asyncDispose]: () => Promise.resolve() }
}
