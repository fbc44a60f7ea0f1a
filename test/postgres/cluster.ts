import { clusterProblem } from '../../scripts/servers/postgres.ts'

export { freePort, privateCluster, type PrivateCluster } from '../../scripts/servers/postgres.ts'

/** Whether the server's programs are on this machine; if not, says so loudly, and fails in CI. */
export function clusterAvailable(): boolean {
  const problem = clusterProblem()
  if (problem === undefined) return true
  const text = problem.toUpperCase()
  if (process.env['CI'] === 'true') throw new Error(text)
  process.stderr.write(`\n*** ${text}: tests with a server of their own are SKIPPED. ***\n`)
  return false
}
