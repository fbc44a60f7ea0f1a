// Runs the fault tests of RabbitMQ and writes their figures into docs/rabbitmq.md.
// usage: node scripts/fault-table.ts
import { execFile, spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, writeFileSync } from 'node:fs'
import { cpus, tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import type { Row } from '../test/rabbitmq/outage/fault-table.ts'

const DOCUMENT = 'docs/rabbitmq.md'
const BEGIN = '<!-- faults: made by scripts/fault-table.ts -->'
const END = '<!-- /faults -->'

const file = join(mkdtempSync(join(tmpdir(), 'mersal-faults-')), 'rows')
// One file after the other, so that none of them disturbs the times of another.
const run = spawnSync(
  'npx',
  ['vitest', 'run', '--no-file-parallelism', 'test/transports/rabbitmq/outage'],
  {
    stdio: 'inherit',
    env: { ...process.env, CI: 'true', MERSAL_FAULT_TABLE: file },
  },
)
if (run.status !== 0) throw new Error('the tests failed, so there are no figures')

const rows = readFileSync(file, 'utf8')
  .trim()
  .split('\n')
  .map((line) => JSON.parse(line) as Row)
const seconds = (ms: number): string => `${(Math.max(0, ms) / 1000).toFixed(1)} s`
const lines = rows.map((row) => {
  const {
    fault,
    messages,
    lost,
    phantom,
    duplicates,
    unanswered,
    charged,
    wiped,
    publishMs,
    handleMs,
  } = row
  return `| ${[fault, messages, lost, phantom, duplicates, unanswered, charged, wiped, seconds(publishMs), seconds(handleMs)].join(' | ')} |`
})
const amqplib = (
  JSON.parse(readFileSync('node_modules/amqplib/package.json', 'utf8')) as { version: string }
).version
const broker = (await promisify(execFile)('rabbitmqctl', ['version'])).stdout.trim()
const table = [
  BEGIN,
  '',
  `One run with RabbitMQ ${broker}, amqplib ${amqplib}, Node ${process.versions.node}, ${cpus().length} cores that other work shared.`,
  '',
  '| fault | messages | lost | phantom | duplicates | no answer | attempts charged | destroyed | until a publish | until a delivery |',
  '|---|---|---|---|---|---|---|---|---|---|',
  ...lines,
  '',
  END,
]
const text = readFileSync(DOCUMENT, 'utf8')
const [before, rest] = text.split(BEGIN)
const after = rest?.split(END)[1]
if (before === undefined || after === undefined)
  throw new Error(`${DOCUMENT} has no place for the table: ${BEGIN} ... ${END}`)
writeFileSync(DOCUMENT, `${before}${table.join('\n')}${after}`)
