/**
 * What a tenant with 100,000 waiting messages costs another one: `node scripts/measure-tenants.ts
 * [--rounds 3] [--backlog 100000] [--per-second 100] [--seconds 5]`. The other one commits messages
 * at an even pace; how many of them arrive in a second, and how long each takes from before its
 * transaction, alone and beside the backlog, in turns. The last line has the medians of the ratios
 * of the rounds, which should be at least 0.95 for the rate and at most 2 for the latency. Files of
 * SQLite, and a broker that confirms after `--confirm-ms` (1).
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import { command } from '../src/index.ts'
import { createTenants } from '../src/tenants/index.ts'
import { sqlite } from '../src/sqlite.ts'
import { confirming, percentile } from './measuring.ts'

const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: '3' },
    backlog: { type: 'string', default: '100000' },
    'per-second': { type: 'string', default: '100' },
    seconds: { type: 'string', default: '5' },
    'confirm-ms': { type: 'string', default: '1' },
  },
})
const Work = command<{ n: number }>('work')
const PACE_MS = 1000 / Number(values['per-second'])
const COUNT = Number(values['per-second']) * Number(values.seconds)

interface Figures {
  readonly rate: number
  readonly p50: number
  readonly p99: number
  /** Of the backlog, in a second. */
  readonly drained: number
}

async function measure(beside: boolean): Promise<Figures> {
  const folder = mkdtempSync(join(tmpdir(), 'mersal-tenants-'))
  const arrived = new Map<number, number>()
  let drained = 0
  const transport = confirming('none', async ({ headers, body }) => {
    if (Number(values['confirm-ms']) > 0) await sleep(Number(values['confirm-ms']))
    const { n } = JSON.parse(Buffer.from(body).toString()) as { n: number }
    if (headers['tenant'] === 'busy') drained++
    else arrived.set(n, performance.now())
  })
  const open = (runRelay: boolean) =>
    createTenants({
      name: 'measure',
      tenants: ['busy', 'other'],
      store: (tenant) => sqlite({ path: join(folder, `${tenant}.db`) }),
      transport,
      outbox: { runRelay },
      routes: { [Work.name]: 'work' },
      sendOnly: true,
      logger: false,
    })
  try {
    if (beside) {
      await using filling = open(false)
      await filling.start()
      const busy = await filling.get('busy')
      for (let from = 0; from < Number(values.backlog); from += 2000)
        await busy.transaction(async (_tx, { send }) => {
          for (let n = from; n < from + 2000; n += 1) await send(Work, { n })
        })
    }
    await using tenants = open(true)
    await tenants.start()
    const other = await tenants.get('other')
    await tenants.get('busy')
    const began = performance.now()
    const sent: number[] = []
    for (let n = 0; n < COUNT; n += 1) {
      const due = began + n * PACE_MS
      if (performance.now() < due) await sleep(due - performance.now())
      sent.push(performance.now())
      await other.transaction((_tx, { send }) => send(Work, { n }))
    }
    while (arrived.size < COUNT) await sleep(1)
    const took = performance.now() - began
    const waits = sent.map((from, n) => arrived.get(n)! - from).toSorted((a, b) => a - b)
    const rate = (COUNT / took) * 1000
    const perSecond = (drained / took) * 1000
    return { rate, p50: percentile(waits, 0.5), p99: percentile(waits, 0.99), drained: perSecond }
  } finally {
    rmSync(folder, { recursive: true })
  }
}

const said = ({ rate, p50, p99, drained }: Figures): string =>
  `${Math.round(rate)}/s, p50 ${p50.toFixed(1)} ms, p99 ${p99.toFixed(1)} ms (backlog ${Math.round(drained)}/s)`
const ratios: { readonly rate: number; readonly p50: number; readonly p99: number }[] = []
for (let round = 1; round <= Number(values.rounds); round += 1) {
  const besideFirst = round % 2 === 0
  const first = await measure(besideFirst)
  const second = await measure(!besideFirst)
  const [alone, beside] = besideFirst ? [second, first] : [first, second]
  const ratio = (name: 'rate' | 'p50' | 'p99'): number => beside[name] / alone[name]
  ratios.push({ rate: ratio('rate'), p50: ratio('p50'), p99: ratio('p99') })
  process.stderr.write(`round ${round}: alone ${said(alone)}; beside ${said(beside)}\n`)
}
const median = (name: keyof (typeof ratios)[number]): string =>
  percentile(
    ratios.map((ratio) => ratio[name]).toSorted((a, b) => a - b),
    0.5,
  ).toFixed(2)
process.stdout.write(
  `beside against alone, median of ${ratios.length} rounds: rate ${median('rate')}, p50 ${median('p50')}, p99 ${median('p99')}\n`,
)
