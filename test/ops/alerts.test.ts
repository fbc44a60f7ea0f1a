import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { monitoring } from '../../src/http.ts'
import { command, Mersal } from '../../src/index.ts'
import { memoryStore, memoryTransport } from '../../src/memory.ts'
import { createAppMetrics } from '../../src/metrics/app-metrics.ts'
import { createRelayMetrics } from '../../src/metrics/relay-metrics.ts'
import { exposition } from '../../src/metrics/exposition.ts'
import { emit } from '../../src/core/telemetry.ts'

const root = join(import.meta.dirname, '../..')
const rules = readFileSync(join(root, 'ops/prometheus-alerts.yml'), 'utf8')
const board = readFileSync(join(root, 'ops/grafana-dashboard.json'), 'utf8')
const alerts = [...rules.matchAll(/- alert: (\w+)\n\s+expr: (.*)/g)].map(([, name, expr]) => ({
  name: name!,
  expr: expr!,
}))
const namesIn = (text: string): string[] => [
  ...new Set([...text.matchAll(/\bmersal_[a-z_]+/g)].map(([name]) => name)),
]

const DAY = 86_400_000
const Work = command<{ n: number }>('work')

/** What an app really tells, with delayed messages and paused ones in its outbox. */
async function realMetrics(): Promise<string> {
  const store = memoryStore()
  const app = new Mersal({ name: 'shop', store, transport: memoryTransport(), logger: false })
  app.handle(Work, () => {})
  using pages = monitoring(app)
  await store.open()
  await store.operations!.pauses!.pause({ kind: 'key', name: 'paused' }, '')
  await app.start()
  await app.transaction(async (_tx, { sendLocal }) => {
    await sendLocal(Work, { n: 1 })
    await sendLocal(Work, { n: 2 }, { delayMs: DAY })
    await sendLocal(Work, { n: 3 }, { partitionKey: 'paused' })
  })
  await new Promise((resolve) => setTimeout(resolve, 200))
  const text = await (await pages.metrics.fetch(new Request('http://here.test/metrics'))).text()
  await app.stop()
  return text
}

interface Series {
  readonly series: string
  readonly values: string
}

/** Each series of the text, with the same value for half an hour. */
const seriesOf = (text: string): readonly Series[] =>
  text
    .split('\n')
    .filter((line) => line !== '' && !line.startsWith('#'))
    .map((line) => {
      const cut = line.lastIndexOf(' ')
      return { series: line.slice(0, cut), values: `${line.slice(cut + 1)}x60` }
    })

/** What is changed in the real text so that this alert fires: values of a metric that is there. */
const troubles: Readonly<Record<string, (series: readonly Series[]) => readonly Series[]>> = {
  MersalBehind: changed('mersal_outbox_behind_seconds', '300x60'),
  MersalNobodyTells: (series) =>
    series.filter((one) => !one.series.startsWith('mersal_outbox_pending')),
  MersalDown: (series) => [
    ...series,
    { series: 'up{job="shop",instance="a:9464"}', values: '1x5 0x55' },
    { series: 'mersal_app_live{job="shop",instance="a:9464"}', values: '1x5 _x55' },
  ],
  MersalRelayGone: (series) => [
    ...series,
    { series: 'mersal_relay_running{relay="r"}', values: '1x5 _x55' },
  ],
  MersalAppNotReady: changed('mersal_app_ready', '0x60'),
  MersalRefused: changed('mersal_outbox_refused', '2x60'),
  MersalDeadOutgoing: changed('mersal_outbox_dead', '1x60'),
  MersalDeadIncoming: changed('mersal_queue_dead', '1x60'),
  MersalBreakerOpen: changed('mersal_relay_breaker', '1x60'),
  MersalClaimsFail: changed('mersal_relay_claim_failures_total', '0+20x60'),
  MersalPoolWaiting: (series) => [
    ...series,
    { series: 'mersal_pool_waiting{app="shop"}', values: '3x60' },
  ],
}

function changed(name: string, values: string): (series: readonly Series[]) => readonly Series[] {
  return (series) => {
    const found = series.filter((one) => one.series.replace(/\{.*/, '') === name)
    if (found.length === 0) throw new Error(`no app tells ${name}`)
    return series.map((one) => (found.includes(one) ? { ...one, values } : one))
  }
}

function promtool(): boolean {
  try {
    execFileSync('promtool', ['--version'], { stdio: 'ignore' })
    return true
  } catch {
    const text = 'NO PROMTOOL (Debian package prometheus): the alerts are not tried'
    if (process.env['CI'] === 'true') throw new Error(text)
    process.stderr.write(`\n*** ${text} ***\n`)
    return false
  }
}

/** A breaker has never changed in an app whose broker is well, so a relay tells of one here. */
function withBreaker(text: string): string {
  using metrics = createRelayMetrics(() => 0, new Map([['shop', { app: 'shop' }]]))
  emit('mersal:breaker', () => ({
    app: 'shop',
    destination: 'default/queue/a',
    state: 'half-open',
  }))
  const breaker = metrics.metrics().filter(({ name }) => name === 'mersal_relay_breaker')
  return `${text}${exposition(breaker)}`
}

describe.skipIf(!promtool())('each alert', () => {
  test('fires on its trouble alone, and none on delayed and paused messages', async () => {
    const real = seriesOf(withBreaker(await realMetrics()))
    expect(real.find(({ series }) => series.startsWith('mersal_outbox_pending'))?.values).toBe(
      '2x60',
    )
    expect(Object.keys(troubles)).toEqual(alerts.map(({ name }) => name))
    const firing = 'count by (alertname) (ALERTS{alertstate="firing"})'
    const group = (input: readonly Series[], names: readonly string[]) => ({
      interval: '1m',
      input_series: input,
      promql_expr_test: [
        {
          expr: firing,
          eval_time: '30m',
          exp_samples: names.map((alertname) => ({
            labels: `{alertname="${alertname}"}`,
            value: 1,
          })),
        },
      ],
    })
    const folder = mkdtempSync(join(tmpdir(), 'mersal-alerts-'))
    try {
      writeFileSync(join(folder, 'rules.yml'), rules)
      const tests = [
        group(
          [
            ...real,
            // Another program that is down, and an app and a relay that are well.
            { series: 'up{job="other",instance="b:1"}', values: '0x60' },
            { series: 'up{job="relay",instance="c:1"}', values: '1x60' },
            { series: 'mersal_relay_running{job="relay",instance="c:1"}', values: '1x60' },
          ],
          [],
        ),
        ...alerts.map(({ name }) => group(troubles[name]!(real), [name])),
      ]
      writeFileSync(
        join(folder, 'tests.yml'),
        JSON.stringify({ rule_files: ['rules.yml'], evaluation_interval: '1m', tests }),
      )
      const run = (file: string): string => {
        try {
          return execFileSync('promtool', ['test', 'rules', file], {
            cwd: folder,
            encoding: 'utf8',
            stdio: 'pipe',
          })
        } catch (error) {
          return String((error as { stderr?: string }).stderr)
        }
      }
      expect(run('tests.yml')).toContain('SUCCESS')
      // The same says so when an alert stays silent.
      const silent = { ...tests[1], input_series: real }
      writeFileSync(
        join(folder, 'silent.yml'),
        JSON.stringify({ rule_files: ['rules.yml'], evaluation_interval: '1m', tests: [silent] }),
      )
      expect(run('silent.yml')).toContain('FAILED')
    } finally {
      rmSync(folder, { recursive: true, force: true })
    }
  })
})

test('alerts and the Grafana dashboard ask only for metrics that there are', () => {
  const app = new Mersal({ name: 'shop', store: memoryStore(), transport: memoryTransport() })
  using metrics = createAppMetrics(app as unknown as Mersal<unknown>)
  const page = readFileSync(join(root, 'docs/reference/metrics.md'), 'utf8')
  const ofRelays = page.matchAll(/^\| `(?<name>mersal_relay_\w+)` \|/gm)
  const known = new Set([
    ...metrics.catalogue.map(({ name }) => name),
    ...[...ofRelays].map(({ groups }) => groups!['name']!),
  ])
  const asked = namesIn(board + alerts.map(({ expr }) => expr).join('\n'))
  expect(asked.length).toBeGreaterThan(15)
  expect(asked.filter((name) => !known.has(name))).toEqual([])
})
