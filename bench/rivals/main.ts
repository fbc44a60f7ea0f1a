/**
 * `node bench/rivals/main.ts [--only NAME] [--scenario NAME] [--json FILE]`: every candidate through
 * the same points of trouble, with its default limits where a person would leave them.
 */
import { writeFileSync } from 'node:fs'
import { parseArgs } from 'node:util'
import { machine, versions } from '../machine.ts'
import { privateCluster } from '../../scripts/servers/postgres.ts'
import { installPeers } from '../peers/load.ts'
import { libraryOf } from './libraries.ts'
import { type Candidate, candidates } from './plan.ts'
import { type Outcome, plays, type Scenario, scenarios } from './scenarios.ts'
import { openStage } from './stage.ts'

const { values } = parseArgs({
  options: {
    only: { type: 'string' },
    scenario: { type: 'string' },
    json: { type: 'string' },
  },
})

async function play(server: string, candidate: Candidate, scenario: Scenario): Promise<Outcome> {
  await using stage = await openStage(candidate, server)
  // Makes tables, queues and subscriptions, as a service that has run before.
  await (await stage.start({ role: 'consumer' }))[Symbol.asyncDispose]()
  return await plays[scenario](stage, await libraryOf(candidate))
}

async function compare(): Promise<void> {
  await installPeers()
  await using cluster = await privateCluster({ max_connections: '150' })
  const rows: { candidate: Candidate; scenario: Scenario; outcome: Outcome }[] = []
  for (const candidate of candidates.filter(
    (name) => values.only === undefined || name === values.only,
  ))
    for (const scenario of Object.keys(scenarios) as Scenario[]) {
      if (values.scenario !== undefined && scenario !== values.scenario) continue
      const outcome = await play(cluster.url, candidate, scenario)
      process.stdout.write(`${candidate}: ${scenarios[scenario]}: ${outcome.text}\n`)
      rows.push({ candidate, scenario, outcome })
    }
  const result = {
    at: new Date().toISOString(),
    machine: machine(),
    versions: versions(true),
    rows,
  }
  if (values.json !== undefined)
    writeFileSync(values.json, `${JSON.stringify(result, undefined, 2)}\n`)
}

await compare()
