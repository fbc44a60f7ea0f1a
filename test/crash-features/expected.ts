/** What a cell has to say of a bus without a bug, and of one with a bug. */
import type { Findings } from './audit.ts'
import type { CellRun } from './cell.ts'
import type { Bug, Road } from './plan.ts'
import { crashPoints } from './points.ts'

export const clean: Findings = {
  effects: [],
  answers: [],
  sagas: [],
  timeouts: [],
  messages: [],
  replies: [],
  cancels: [],
}

export interface Planted {
  readonly bug: Bug
  readonly says: string
  /** Where somebody dies meanwhile. */
  readonly point: string
  readonly check: keyof Findings
  readonly not?: Road['database']
}

export const planted: readonly Planted[] = [
  {
    bug: 'no inbox',
    says: 'without the inbox, a message of a saga that comes again changes its instance again',
    point: 'G6',
    check: 'sagas',
  },
  {
    bug: 'state of its own',
    says: 'the state of a saga is stored in a transaction of its own, after that of the message',
    point: 'G6',
    check: 'sagas',
  },
  {
    bug: 'timeouts forgotten',
    says: 'timeouts are not written with the state',
    point: 'G10',
    check: 'timeouts',
  },
  {
    bug: 'no keys',
    says: 'the key of a request and its answer are not in its transaction',
    point: 'O6',
    check: 'effects',
  },
  {
    bug: 'reply at once',
    says: 'a reply leaves before its transaction commits',
    point: 'A10',
    check: 'replies',
  },
  {
    bug: 'cancel at once',
    says: 'a message is taken back at once, whatever becomes of the transaction',
    point: 'K1',
    check: 'cancels',
    // There is one writer, which would wait for itself.
    not: 'sqlite',
  },
]

export const plantedIn = ({ database }: Road): readonly Planted[] =>
  planted.filter(({ not }) => not !== database)

export function cellRun(road: Road, name: string, bug?: Bug): CellRun {
  const point = crashPoints.find((each) => each.name === name)
  if (point === undefined) throw new Error(`there is no point ${name}`)
  return { road, point, ...(bug === undefined ? {} : { bug }) }
}
