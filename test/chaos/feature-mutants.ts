/** Bugs in sagas, requests once and handling in order, which the second workload has to notice. */
import type { Mutant } from './mutants.ts'

const quickly = (store: 'postgres' | 'sqlite', nemeses: readonly string[]) =>
  ({ store, nemeses, seconds: 8, features: true }) as const

export const featureMutants: readonly Mutant[] = [
  {
    name: 'S1',
    says: 'the timeout that a saga asks for first is not sent',
    changes: [
      {
        file: 'app/sagas/react.ts',
        from: 'for (const [name, delayMs] of wanted)',
        to: 'for (const [name, delayMs] of [...wanted].slice(1))',
      },
    ],
    under: quickly('sqlite', ['kill']),
  },
  {
    name: 'S2',
    says: 'a timeout of a saga that was replaced is handled all the same',
    changes: [
      {
        file: 'app/sagas/react.ts',
        from: 'if (instance?.id !== id || pending.numbers.get(name) !== number) {',
        to: 'if (instance?.id !== id) {',
      },
    ],
    under: quickly('postgres', ['kill']),
  },
  {
    name: 'S3',
    says: 'the state of a saga stays as its first message has left it',
    changes: [
      {
        file: 'app/sagas/react.ts',
        from: 'await ports.store.store(context.tx, key, { id, ...kept, timeouts: writePending(pending) })',
        to: 'await ports.store.store(context.tx, key, { ...kept, ...instance, id, timeouts: writePending(pending) })',
      },
    ],
    under: quickly('sqlite', ['kill']),
  },
  {
    name: 'O1',
    says: 'a request that was answered runs again when it is repeated',
    changes: [
      {
        file: 'app/once/once.ts',
        from: "if (found.kind !== 'first') throw undo",
        to: "if (found.kind === 'running') throw undo",
      },
    ],
    under: quickly('sqlite', ['kill']),
  },
  {
    name: 'Q1',
    says: 'a queue hands out a message although an earlier one of its key waits',
    changes: [
      {
        file: 'transports/sqlite/statements.ts',
        from: 'THEN 9007199254740991 ELSE :dueAt END',
        to: 'THEN :dueAt ELSE :dueAt END',
      },
    ],
    under: quickly('sqlite', ['kill']),
  },
]
