import { type CrashPoint, crashPointList } from '../../testing/crash-points.ts'
import type { Trouble } from '../plan.ts'

/** One row of the table. */
export interface Case {
  readonly name: string
  readonly meaning: string
  readonly point?: CrashPoint
  readonly trouble?: Trouble
}

export const cleanCase: Case = { name: 'clean', meaning: 'nothing goes wrong' }

/** Nobody is killed in these. */
export const troubleCases: readonly Case[] = [
  { name: 'undo', meaning: 'actions throw after they have written and sent', trouble: 'undo' },
  { name: 'fail', meaning: 'handlers throw at their first try', trouble: 'fail' },
  { name: 'twice', meaning: 'every message is delivered twice', trouble: 'twice' },
  { name: 'poison', meaning: 'one message can never be handled', trouble: 'poison' },
]

/** Here C4 comes when the handler has ended, which leaves more behind than its middle. */
const handled = 'the handler has ended, the COMMIT of its transaction is not sent'

export const pointCases: readonly Case[] = crashPointList.map(({ name, meaning }) => ({
  name,
  meaning: `killed: ${name === 'C4' ? handled : meaning}`,
  point: name,
}))

export const allCases: readonly Case[] = [cleanCase, ...troubleCases, ...pointCases]
