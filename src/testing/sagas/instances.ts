import type { SagaInstance, SagaKey, SagaStore } from '../../core/records/sagas.ts'

/** Instances of one saga in memory. What a message changes is kept only when it is handled. */
export interface Instances {
  readonly store: SagaStore<undefined>
  readonly current: ReadonlyMap<string, SagaInstance>
  keep(): void
  undo(): void
}

export function createInstances(): Instances {
  const current = new Map<string, SagaInstance>()
  const changed = new Map<string, SagaInstance | undefined>()
  const store: SagaStore<undefined> = {
    open: () => Promise.resolve(),
    load: (_, { key }) => Promise.resolve(changed.has(key) ? changed.get(key) : current.get(key)),
    store(_, { key }: SagaKey, instance) {
      changed.set(key, instance)
      return Promise.resolve()
    },
    list: () => Promise.resolve([]),
  }
  return {
    store,
    current,
    keep() {
      for (const [key, instance] of changed)
        if (instance === undefined) current.delete(key)
        else current.set(key, instance)
      changed.clear()
    },
    undo: () => changed.clear(),
  }
}
