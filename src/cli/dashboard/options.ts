import type { Lock } from '../../dashboard/access/gate.ts'
import { allRights, checkRights, type Right } from '../../dashboard/access/rights.ts'
import { newToken } from './token.ts'
import type { Context } from '../verb.ts'
import { CommandError, UsageError } from '../exit.ts'

const VARIABLE = 'MERSAL_DASHBOARD_TOKEN'

/** Names of this machine that no other one reaches. */
const LOOPBACK: ReadonlySet<string> = new Set(['127.0.0.1', '::1', 'localhost'])

export const isLoopback = (host: string): boolean => LOOPBACK.has(host)

/** Who comes in. Throws `UsageError` for what would let in everybody. */
export function lockOf({ args, env }: Context, host: string): Lock & { readonly given: boolean } {
  const given = env[VARIABLE] ?? ''
  if (args.flag('no-token')) {
    if (!isLoopback(host))
      throw new UsageError(
        '--no-token goes with a loopback address only: others on the network could come in',
      )
    return { kind: 'open', given: false }
  }
  if (given === '') return { kind: 'token', token: newToken(), given: false }
  if (!/^[\x21-\x7e]{16,500}$/.test(given))
    throw new CommandError(`${VARIABLE}: expected 16 to 500 characters of ASCII without spaces`)
  return { kind: 'token', token: given, given: true }
}

/** What may be done beyond reading. Throws `UsageError`. */
export function allowOf({ args }: Context): ReadonlySet<Right> {
  const names = args.text('allow')?.split(',').filter(Boolean) ?? []
  try {
    return checkRights('--allow', names)
  } catch {
    throw new UsageError(`--allow: expected some of ${allRights.join(',')}, with commas in between`)
  }
}
