/** One life of the program that is proven: `mersal prove` starts it, and it kills itself. */
import { appendFileSync } from 'node:fs'
import { pathToFileURL } from 'node:url'
import { checkNumber, checkOptions } from '../../core/options.ts'
import { toError } from '../../lib/async/abort.ts'
import { describeError } from '../../operate/describe-error.ts'
import type { Proof, ProofPlace } from '../../testing/proof.ts'
import { type LifePlan, type Look, type Told } from '../plan.ts'
import { actions } from './actions.ts'
import { trap } from './arm.ts'
import { guard } from './guards.ts'
import { numbersOf, placeOf } from './place.ts'
import { countMessages, type Parts, watchApps } from './seam.ts'
import { troubles } from './trouble.ts'

const known = ['open', 'act', 'rows', 'effects', 'keyOf', 'actions'] as const
const tell = (told: Told): void => void process.send?.(told)

async function proofIn(file: string): Promise<Proof & { readonly actions: number }> {
  const { default: given } = (await import(pathToFileURL(file).href)) as { default?: unknown }
  checkOptions('proof', given, known)
  const proof = given as Proof
  for (const name of ['open', 'act', 'rows', 'effects'] as const) {
    const isRight = typeof proof[name] === 'function' || (isNumbers(name) && isText(proof[name]))
    if (!isRight)
      throw new Error(
        `proof.${name}: expected a function${isNumbers(name) ? ', or SQL as text' : ''}`,
      )
  }
  const bounds = { default: 12, min: 3, max: 1000 }
  return { ...proof, actions: checkNumber('proof.actions', proof.actions, bounds) }
}

const isNumbers = (name: string): boolean => name === 'rows' || name === 'effects'
const isText = (value: unknown): boolean => typeof value === 'string' && value.trim() !== ''

async function look(proof: Proof, place: ProofPlace, parts?: Parts): Promise<Look> {
  // The messages first: what is handled in between is found among the effects.
  const messages = parts === undefined ? { waiting: 0, dead: 0 } : await countMessages(parts)
  const rows = await numbersOf('rows', proof.rows, place)
  const effects = await numbersOf('effects', proof.effects, place)
  return { rows, effects, ...messages }
}

async function live(plan: LifePlan): Promise<void> {
  const { begin, at } = trap(plan)
  guard(plan, at)
  const trouble = troubles({
    trouble: plan.trouble,
    happened: () => appendFileSync(plan.log, 'trouble\n'),
    at,
  })
  const parts = watchApps(at, trouble)
  const proof = await proofIn(plan.file)
  const place = placeOf(plan)
  if (plan.role === 'look') {
    tell({ kind: 'look', ...(await look(proof, place)) })
    return
  }
  const app = await proof.open(place)
  if (parts.transports.size === 0)
    throw new Error('open() made no app of Mersal, or with another version of it')
  process.on('message', () => {
    look(proof, place, parts).then((found) => tell({ kind: 'look', ...found }), broken)
  })
  const keys = Array.from({ length: proof.actions }, (_, index) => proof.keyOf?.(index + 1) ?? '')
  tell({ kind: 'acting', actions: proof.actions, keys: proof.keyOf === undefined ? [] : keys })
  begin()
  tell({ kind: 'done', failures: await actions({ proof, app, place, trouble: plan.trouble }) })
}

function broken(thrown: unknown): void {
  tell({ kind: 'broken', error: describeError(toError(thrown)) })
}

/** Lives until it is killed. */
export async function liveByPlan(plan: string): Promise<never> {
  await live(JSON.parse(plan) as LifePlan).catch(broken)
  return await new Promise<never>(() => undefined)
}
