import { execFile } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { expect, test } from 'vitest'
import { apart, sections } from '../../bench/sections.ts'
import { kafkaIsHere } from '../kafka/server.ts'
import { natsIsHere } from '../nats/server.ts'
import { clusterAvailable } from '../postgres/cluster.ts'
import { rabbitIsHere } from '../rabbitmq/broker.ts'

const here = clusterAvailable() && (await rabbitIsHere()) && natsIsHere()
const main = fileURLToPath(new URL('../../bench/main.ts', import.meta.url))

interface Outcome {
  readonly section: string
  readonly tables: readonly {
    readonly rows: readonly (readonly string[])[]
    readonly faults: readonly string[]
  }[]
}

async function expectNoFaults(given: readonly string[], wanted: readonly string[]): Promise<void> {
  const usual = ['--tiny', '--runs', '1', '--without-peers', '--json']
  const { stdout } = await promisify(execFile)(process.execPath, [main, ...given, ...usual])
  const outcomes = stdout
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as Outcome)
  expect(outcomes.map(({ section }) => section)).toEqual(wanted)
  expect(outcomes.flatMap(({ tables }) => tables.flatMap(({ faults }) => faults))).toEqual([])
  expect(outcomes.filter(({ tables }) => tables.some(({ rows }) => rows.length < 2))).toEqual([])
}

test.runIf(here)(
  'every section of the benchmark runs, and finds nothing lost, doubled or out of order',
  { timeout: 600_000 },
  () =>
    expectNoFaults(
      [],
      Object.keys(sections).filter((name) => !apart.includes(name)),
    ),
)

test.runIf(here && kafkaIsHere())(
  'so does the section of Kafka, whose broker takes a while',
  { timeout: 600_000 },
  () => expectNoFaults([...apart], apart),
)
