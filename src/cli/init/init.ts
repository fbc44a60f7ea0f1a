import { existsSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { storeNames, transportAdapters, transportNames } from '../adapters.ts'
import { noMore } from '../config/access.ts'
import type { Arguments } from '../arguments.ts'
import { CommandError, exitCodes, UsageError } from '../exit.ts'
import { appText, configText } from './init-files.ts'
import { type Found, lookAround } from './init-surroundings.ts'
import type { Output } from '../output.ts'
import type { Context, Verb } from '../verb.ts'

const variables = new Set(
  Object.values(transportAdapters).flatMap((adapter): readonly string[] => adapter.variables),
)

export const init: Verb = {
  name: 'init',
  summary: 'write a configuration and a first app',
  usage: [
    `init [--store ${storeNames.join('|')}] [--transport ${transportNames.join('|')}] [--force]`,
  ],
  text: `Asks no questions: it looks at package.json, the installed packages and the environment
(${[...variables].join(', ')}).
Without a database and a broker it writes an app on SQLite, which needs neither. It overwrites a
file only with --force.`,
  options: {
    store: { kind: 'text', value: 'NAME', text: storeNames.join(' or ') },
    transport: { kind: 'text', value: 'NAME', text: transportNames.join(' or ') },
    force: { kind: 'flag', text: 'overwrite files that exist' },
  },
  examples: ['mersal init', 'mersal init --store postgres --transport rabbitmq'],
  run,
}

function choice<Name extends string>(
  args: Arguments,
  option: string,
  names: readonly Name[],
): Name | undefined {
  const given = args.text(option)
  const name = names.find((one) => one === given)
  if (given !== undefined && name === undefined)
    throw new UsageError(`--${option}: expected ${names.join(' or ')}`)
  return name
}

async function run({ args, out, cwd, env }: Context): Promise<number> {
  noMore(args.positionals, 0)
  const asked = {
    store: choice(args, 'store', storeNames),
    transport: choice(args, 'transport', transportNames),
  }
  const found = lookAround(cwd, env, asked)
  const files = [
    { name: `mersal.config.${found.ending}`, text: configText(found) },
    { name: `app.${found.ending}`, text: appText(found) },
  ]
  const there = files.filter(({ name }) => existsSync(join(cwd, name)))
  if (there.length > 0 && !args.flag('force')) {
    throw new CommandError(
      `${there.map(({ name }) => name).join(' and ')} ${there.length === 1 ? 'exists' : 'exist'} already; nothing was written. --force overwrites`,
    )
  }
  for (const { name, text } of files) {
    writeFileSync(join(cwd, name), text)
    out.line(`wrote ${name}`)
  }
  tellSteps(found, args.text('env'), out)
  return await Promise.resolve(exitCodes.ok)
}

/**
 * Every step as it is to be typed. Variables come from a file where one was named, or where some
 * are not set yet.
 */
function tellSteps(
  { missing, store, transport, ending, unset, typescript }: Found,
  named: string | undefined,
  out: Output,
): void {
  const file = named ?? (unset.length === 0 ? undefined : '.env')
  const mersal = file === undefined ? '' : ` --env ${file}`
  const steps = [
    ...(missing.length === 0 ? [] : [`npm install ${missing.join(' ')}`]),
    ...unset.map(({ variable, shown }) => `write into ${file}: ${variable}=${shown}`),
    `npx mersal migrate${mersal}`,
    `node ${file === undefined ? '' : `--env-file=${file} `}app.${ending}`,
    `npx mersal status${mersal}`,
  ]
  out.line()
  out.line(`Database: ${store}. Broker: ${transport}. Next:`)
  for (const [index, step] of steps.entries()) out.line(`  ${index + 1}. ${step}`)
  if (unset.length > 0)
    out.line(
      `Keep ${file} out of git. With the variables in the environment, leave out --env and --env-file.`,
    )
  if (typescript)
    out.line(
      "tsc wants 'allowImportingTsExtensions' and 'noEmit' for an import of a .ts file; node runs it as it is.",
    )
}
