import { toError } from '../lib/async/abort.ts'
import { suggest } from '../lib/suggest.ts'
import { parseArguments } from './arguments.ts'
import { describeError } from '../operate/describe-error.ts'
import { CommandError, exitCodes, UsageError } from './exit.ts'
import { commonOptions, programHelp, verbHelp } from './help.ts'
import { closeConfig, type Loaded, loadConfig } from './config/load-config.ts'
import { manifest } from './doctor/manifest.ts'
import type { Output } from './output.ts'
import type { Verb } from './verb.ts'
import { verbs } from './verbs.ts'
import { checkNode } from './doctor/versions.ts'

export interface Surroundings {
  readonly out: Output
  readonly cwd: string
  readonly env: NodeJS.ProcessEnv
}

/** Runs one command line. Resolves to the exit code; never rejects. */
export async function runProgram(args: readonly string[], world: Surroundings): Promise<number> {
  // Nothing secret belongs there; if it is there all the same, it must not be repeated.
  for (const arg of args) world.out.hide(arg)
  try {
    return await dispatch(args, world)
  } catch (thrown) {
    return tell(thrown, world.out)
  }
}

async function dispatch(args: readonly string[], world: Surroundings): Promise<number> {
  const [name, ...rest] = args
  if (name === undefined || name === 'help' || name === '--help' || name === '-h')
    return await help(rest, name === undefined, world.out)
  if (name === '--version' || name === '-v' || name === 'version') {
    world.out.line(manifest().version)
    return exitCodes.ok
  }
  if (name.startsWith('-'))
    throw new UsageError(
      `options stand behind the verb: mersal VERB ${name.slice(0, 60)}; 'mersal --help' lists the verbs`,
    )
  const verb = await findVerb(name)
  if (rest.includes('--help') || rest.includes('-h')) {
    world.out.page(verbHelp(verb))
    return exitCodes.ok
  }
  checkNode(process.version, manifest().engines.node)
  return await runVerb(verb, rest, world)
}

async function help([name]: readonly string[], wrong: boolean, out: Output): Promise<number> {
  if (name !== undefined && !name.startsWith('-')) {
    out.page(verbHelp(await findVerb(name)))
    return exitCodes.ok
  }
  out.page(programHelp(await Promise.all(Object.values(verbs).map((load) => load()))))
  return wrong ? exitCodes.usage : exitCodes.ok
}

async function findVerb(name: string): Promise<Verb> {
  const load = Object.hasOwn(verbs, name) ? verbs[name] : undefined
  if (load !== undefined) return await load()
  const near = suggest(name, Object.keys(verbs))
  throw new UsageError(
    `there is no verb '${name.slice(0, 60)}'; ${near === undefined ? "'mersal --help' lists them" : `did you mean 'mersal ${near}'?`}`,
  )
}

async function runVerb(
  verb: Verb,
  rest: readonly string[],
  { out, cwd, env }: Surroundings,
): Promise<number> {
  const args = parseArguments(rest, { ...verb.options, ...commonOptions }, Date.now())
  checkAction(verb, args.positionals[0])
  readEnvFile(args.text('env'), { out, cwd, env })
  let loading: Promise<Loaded> | undefined
  const load = (): Promise<Loaded> =>
    (loading ??= loadConfig({
      path: args.text('config'),
      cwd,
      env,
      hide: (text) => out.hide(text),
    }))
  try {
    return await verb.run({ args, out, cwd, env, load })
  } finally {
    const loaded = await loading?.catch(() => undefined)
    if (loaded !== undefined) await closeConfig(loaded, (text) => out.note(`mersal: ${text}`))
  }
}

function checkAction({ name, actions }: Verb, given: string | undefined): void {
  if (actions === undefined || (given !== undefined && actions.includes(given))) return
  if (given === undefined)
    throw new UsageError(`say what to do: mersal ${name} ${actions.join('|')}`)
  const near = suggest(given, actions)
  throw new UsageError(
    `'${given.slice(0, 60)}' is nothing that 'mersal ${name}' does; ${near === undefined ? `it does ${actions.join(', ')}` : `did you mean '${near}'?`}`,
  )
}

/** Variables that are set already win. */
function readEnvFile(path: string | undefined, { out, env }: Surroundings): void {
  if (path === undefined) return
  try {
    process.loadEnvFile(path)
  } catch (thrown) {
    throw new CommandError(`--env: ${toError(thrown).message}`)
  }
  for (const [name, value] of Object.entries(env)) if (value !== undefined) out.hide(value, name)
}

/** One line for people: what is wrong, why, and what to do. */
function tell(thrown: unknown, out: Output): number {
  const error = toError(thrown)
  if (error instanceof UsageError) {
    out.note(`mersal: ${error.message}`)
    return exitCodes.usage
  }
  if (error instanceof CommandError) out.note(`mersal: ${error.message}`)
  else out.note(`mersal: ${describeError(error)}`)
  return exitCodes.failed
}
