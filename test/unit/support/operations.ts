import { tracingChannel } from 'node:diagnostics_channel'
import type { OperationName, Operations } from '../../../src/index.ts'

export type Phase = 'start' | 'end' | 'asyncStart' | 'asyncEnd' | 'error'

export interface Told<Name extends OperationName> {
  readonly phase: Phase
  readonly facts: Operations[Name]
}

/** Notes what an operation tells of this app, until it is disposed of. */
export function listenTo<Name extends OperationName>(
  name: Name,
  app: string,
  onStart: (facts: Operations[Name]) => void = () => {},
): { readonly told: readonly Told<Name>[] } & Disposable {
  const told: Told<Name>[] = []
  const note =
    (phase: Phase) =>
    (given: object): void => {
      const facts = given as Operations[Name]
      if (facts.app !== app) return
      if (phase === 'start') onStart(facts)
      told.push({ phase, facts })
    }
  const channel = tracingChannel<object>(`mersal:${name}`)
  const subscribers = {
    start: note('start'),
    end: note('end'),
    asyncStart: note('asyncStart'),
    asyncEnd: note('asyncEnd'),
    error: note('error'),
  }
  channel.subscribe(subscribers)
  return { told, [Symbol.dispose]: () => channel.unsubscribe(subscribers) }
}

/** The objects of operations that are over, in the order of their ends. */
export function ended<Name extends OperationName>(
  told: readonly Told<Name>[],
): readonly Operations[Name][] {
  return told.flatMap(({ phase, facts }) => (phase === 'asyncEnd' ? [facts] : []))
}
