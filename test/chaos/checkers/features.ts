/** Checkers of sagas, of requests that take effect once, and of handling in order. */
import { courseOf, timeoutMs } from '../features/plan.ts'
import type { FeatureTruth } from '../features/tables.ts'
import type { Evidence } from './evidence.ts'
import type { Checker } from './finding.ts'

const skipped = ({ truth }: Evidence): string | undefined =>
  truth.features === undefined ? 'not in this workload' : undefined

const times = (names: readonly string[]): ReadonlyMap<string, number> => {
  const counts = new Map<string, number>()
  for (const name of names) counts.set(name, (counts.get(name) ?? 0) + 1)
  return counts
}

function stepsOf({
  steps,
}: FeatureTruth): ReadonlyMap<number, readonly FeatureTruth['steps'][number][]> {
  return Map.groupBy(steps, ({ number }) => number)
}

const sagaOnce: Checker = {
  check: 'sagaOnce',
  says: 'a saga that was started has not ended once, nor is open with the state of its messages',
  skipped,
  find({ truth: { features } }) {
    if (features === undefined) return []
    const all = stepsOf(features)
    const begun = [...features.starts.map(({ number }) => number), ...all.keys()]
    const orphans = [...features.instances.keys()].filter((number) => !all.has(number))
    return [
      ...[...new Set(begun)].flatMap((number) =>
        wrongSaga(features, number, all.get(number) ?? []),
      ),
      ...orphans.map((number) => `saga ${number}: an instance that nothing has made`),
    ]
  },
}

function wrongSaga(
  { instances }: FeatureTruth,
  number: number,
  steps: readonly { readonly step: string }[],
): string[] {
  const counts = times(steps.map(({ step }) => step))
  const count = (step: string): number => counts.get(step) ?? 0
  const parts = count('part 1') + count('part 2')
  const ends = count('settled') + count('overdue')
  const instance = instances.get(number)
  const open = courseOf(number) === 'open'
  const name = `saga ${number} (${courseOf(number)})`
  return [
    ...(count('start') === 1 ? [] : [`${name}: ${count('start')} starts`]),
    ...[...counts].filter(([, n]) => n > 1).map(([step, n]) => `${name}: ${step} ${n} times`),
    ...(ends === (open ? 0 : 1) ? [] : [`${name}: ${ends} ends`]),
    ...((instance !== undefined) === open ? [] : [`${name}: ${instance ? 'an' : 'no'} instance`]),
    ...(instance === undefined || instance.paid === parts
      ? []
      : [`${name}: its state says ${instance.paid} parts of ${parts}`]),
  ]
}

const sagaTimeouts: Checker = {
  check: 'sagaTimeouts',
  says: 'an open saga without its timeout in the outbox, or a timeout before its time',
  skipped,
  find({ truth: { features } }) {
    if (features === undefined) return []
    const waiting = times(features.timeouts.map(String))
    const lost = [...features.instances].flatMap(([number, { wanted }]) =>
      wanted === 1 && waiting.get(String(number)) === 1
        ? []
        : [`saga ${number}: wants ${wanted}, ${waiting.get(String(number)) ?? 0} in the outbox`],
    )
    const early = [...stepsOf(features)].flatMap(([number, steps]) => {
      const over = steps.find(({ step }) => step === 'overdue')
      if (over === undefined) return []
      const sets = steps.filter(
        ({ step }) => step === 'start' || (courseOf(number) === 'again' && step.startsWith('part')),
      )
      const due = Math.max(...sets.map(({ at }) => at)) + timeoutMs(number)
      return over.at >= due ? [] : [`saga ${number}: ${(due - over.at).toFixed(0)} ms too early`]
    })
    return [...lost, ...early]
  },
}

const onceEffect: Checker = {
  check: 'onceEffect',
  says: 'a request with several effects, or an answer whose effect is not there',
  skipped,
  find({ truth: { features }, lines }) {
    if (features === undefined) return []
    const effects = [
      ...features.starts.map(({ number, stamp }) => [`start ${number}`, stamp] as const),
      ...features.payments.map(
        ({ number, part, stamp }) => [`pay ${number} ${part}`, stamp] as const,
      ),
    ]
    const twice = [...times(effects.map(([key]) => key))].filter(([, n]) => n > 1)
    const stamps = new Map<string, string>(effects)
    const answers = lines.flatMap((line) => (line.op === 'once' ? [line] : []))
    return [
      ...twice.map(([key, n]) => `${key}: ${n} effects`),
      ...answers
        .filter(({ key, stamp }) => stamps.get(key) !== stamp)
        .map(({ key, stamp }) => `${key}: answered ${stamp}, there is ${stamps.get(key)}`),
    ]
  },
}

const orderedEffect: Checker = {
  check: 'orderedEffect',
  says: 'messages of a key that took effect in another order than that of their commits, or not once',
  skipped,
  find({ truth: { features } }) {
    if (features === undefined) return []
    const sent = Map.groupBy(features.sent, ({ key }) => key)
    const done = Map.groupBy(features.done, ({ key }) => key)
    return [...sent].flatMap(([key, list]) => {
      const seqs = (done.get(key) ?? []).map(({ seq }) => seq)
      const wrong = seqs.flatMap((seq, index) =>
        seq === index + 1 ? [] : [`key ${key}: ${seq} in place ${index + 1}`],
      )
      return seqs.length < list.length
        ? [...wrong, `key ${key}: ${seqs.length} of ${list.length}`]
        : wrong
    })
  },
}

export const featureCheckers: readonly Checker[] = [
  sagaOnce,
  sagaTimeouts,
  onceEffect,
  orderedEffect,
]
