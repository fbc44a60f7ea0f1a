/**
 * `npm run chaos [-- --minutes 10 --seed N --nemesis a,b --store postgres|nats|redis|kafka|…
 * --features --commit-log --keep --json]`
 */
import { parseArgs } from 'node:util'
import { nemeses, nemesesFor } from './nemeses/all.ts'
import { storeKinds } from './plan.ts'
import { report } from './report.ts'
import { run } from './run.ts'

const usage = `usage: npm run chaos -- [--store ${storeKinds.join('|')}] [--minutes N] [--seed N] [--nemesis a,b] [--features] [--commit-log] [--keep] [--json]
${nemeses.map(({ name, says, on }) => `  ${name.padEnd(18)} ${says} (${on.join(', ')})`).join('\n')}\n`

function complain(code = 2): number {
  process.stderr.write(usage)
  return code
}

async function main(): Promise<number> {
  const { values } = parseArgs({
    options: {
      store: { type: 'string', default: 'postgres' },
      minutes: { type: 'string', default: '10' },
      seed: { type: 'string' },
      nemesis: { type: 'string' },
      features: { type: 'boolean', default: false },
      'commit-log': { type: 'boolean', default: false },
      json: { type: 'boolean', default: false },
      keep: { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
    },
  })
  const store = storeKinds.find((kind) => kind === values.store)
  if (store === undefined) return complain()
  const seed = Number(values.seed ?? Math.floor(Math.random() * 1e6))
  const seconds = Number(values.minutes) * 60
  if (values.help || !Number.isInteger(seed) || !(seconds > 0)) {
    return complain(values.help ? 0 : 2)
  }
  const names = values.nemesis?.split(',')
  const commitLog = values['commit-log']
  if (commitLog && store !== 'postgres') return complain()
  nemesesFor(store, names, commitLog)
  const command = `npm run chaos -- --store ${store} --minutes ${values.minutes} --seed ${seed}${values.features ? ' --features' : ''}${commitLog ? ' --commit-log' : ''}${names === undefined ? '' : ` --nemesis ${names.join(',')}`}`
  const say = (text: string): void => void process.stderr.write(`  ${text}\n`)
  say(command)
  const interrupted = new AbortController()
  process.once('SIGINT', () => interrupted.abort(new Error('interrupted')))
  const { signal } = interrupted
  const outcome = await run({
    store,
    seed,
    seconds,
    say,
    signal,
    keep: values.keep,
    features: values.features,
    commitLog,
    ...(names === undefined ? {} : { nemeses: names }),
  })
  const result = { command, store, seed, date: new Date().toISOString().slice(0, 10), ...outcome }
  process.stdout.write(values.json ? `${JSON.stringify(result, null, 2)}\n` : report(result))
  return outcome.verdict === 'green' ? 0 : 1
}

process.exit(await main())
