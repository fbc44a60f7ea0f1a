import { existsSync } from 'node:fs'
import { dirname, resolve } from 'node:path'
import { liveByPlan } from '../../prove/life/main.ts'
import { PLAN } from '../../prove/plan.ts'
import { allCases } from '../../prove/run/cases.ts'
import { prove as proveAll } from '../../prove/run/prove.ts'
import { scratchDatabases, scratchFiles } from '../../prove/run/scratch.ts'
import { noMore } from '../config/access.ts'
import { distrust } from '../config/trusted-file.ts'
import { findNearest } from '../config/load-config.ts'
import { CommandError, exitCodes, UsageError } from '../exit.ts'
import { jsonOption } from '../help.ts'
import type { Context, Verb } from '../verb.ts'
import { reporter } from './report.ts'

export const prove: Verb = {
  name: 'prove',
  summary: 'kill your program at the crash points, and look which promises it keeps',
  usage: ['prove [FILE] [--only NAMES] [--jobs N] [--wait SECONDS] [--json]'],
  text: `FILE is mersal.prove.ts, which says how the program starts, what it does and where that is seen:
see docs/prove.md. Everything happens in places of its own, which are removed again: files in a
temporary folder, a database of its own on the server of MERSAL_PROVE_DATABASE_URL, the empty vhost of
MERSAL_PROVE_AMQP_URL. The program cannot open any other. Exit code 1: a promise is broken, or nothing
could be proven.`,
  options: {
    ...jsonOption,
    only: { kind: 'text', value: 'NAMES', text: 'only these rows, with commas in between' },
    jobs: { kind: 'number', min: 1, max: 64, text: 'trials at a time; default 4, with a broker 1' },
    wait: {
      kind: 'number',
      value: 'SECONDS',
      min: 1,
      max: 3600,
      text: 'how long a trial may take until everything is handled; default 90',
    },
  },
  examples: [
    'mersal prove',
    'mersal prove test/shop.prove.ts --only clean,undo,P4',
    `mersal prove --json | jq -c 'select(.kind == "broken")'`,
  ],
  run,
}

async function run(context: Context): Promise<number> {
  const { args, out, cwd, env } = context
  const plan = env[PLAN]
  if (plan !== undefined) return await liveByPlan(plan)
  noMore(args.positionals, 1)
  const file = proofFile(args.positionals[0], cwd)
  const only = chosen(args.text('only'))
  const brokerUrl = given(env['MERSAL_PROVE_AMQP_URL'])
  const databaseUrl = given(env['MERSAL_PROVE_DATABASE_URL'])
  const jobs = args.number('jobs') ?? (brokerUrl === undefined ? 4 : 1)
  if (brokerUrl !== undefined && jobs > 1)
    throw new UsageError('--jobs: trials share the vhost of the broker, so there is one at a time')
  const stop = new AbortController()
  const onSignal = (): void => stop.abort(new CommandError('stopped; every place is removed'))
  process.once('SIGINT', onSignal).once('SIGTERM', onSignal)
  await using places =
    databaseUrl === undefined ? scratchFiles() : await scratchDatabases(databaseUrl, file)
  const report = reporter(out, args.flag('json'))
  const waitMs = (args.number('wait') ?? 90) * 1000
  const ground = { file, cwd: dirname(file), places, brokerUrl, waitMs, signal: stop.signal }
  const results = await proveAll({ ground, only, jobs, onResult: report.one })
  report.end(results)
  const isGood = results.every(({ kind }) => kind === 'kept' || kind === 'not reached')
  return isGood ? exitCodes.ok : exitCodes.failed
}

const given = (value: string | undefined): string | undefined => (value === '' ? undefined : value)

function proofFile(named: string | undefined, cwd: string): string {
  if (named !== undefined) {
    const file = resolve(cwd, named)
    if (!existsSync(file)) throw new CommandError(`there is no file ${file}`)
    return file
  }
  const file = findNearest('mersal.prove', cwd)
  if (file === undefined)
    throw new CommandError(
      'there is no mersal.prove.ts (or .mts, .js, .mjs) here or above in the project: docs/prove.md shows one',
    )
  const doubt = distrust(file)
  if (doubt === undefined) return file
  throw new CommandError(
    `${file} was found and not run, since ${doubt}; if it is yours, name it: mersal prove ${file}`,
  )
}

function chosen(text: string | undefined): ReadonlySet<string> | undefined {
  if (text === undefined) return undefined
  const names = text.split(',').filter(Boolean)
  const known = allCases.map(({ name }) => name)
  const unknown = names.find((name) => !known.includes(name))
  if (unknown !== undefined)
    throw new UsageError(
      `--only: there is no '${unknown.slice(0, 60)}'; there are ${known.join(', ')}`,
    )
  return new Set(names)
}
