import { setImmediate } from 'node:timers/promises'
import { command, type CommandType } from '../../src/index.ts'

export const rollback = new Error('on purpose')

/** Its body is known at once. */
export const Order = command<{ n: number }>('orders.place')

/** Its schema waits for longer than a transaction lives. */
export const SlowOrder: CommandType<{ n: number }> = command('orders.place', {
  '~standard': {
    version: 1,
    vendor: 'test',
    async validate(value: unknown) {
      for (let turn = 0; turn < 8; turn++) await setImmediate()
      return { value: value as { n: number } }
    },
  },
})

/** The ways in which a call may be made and forgotten. */
export const ways: readonly {
  readonly name: string
  readonly type: CommandType<{ n: number }>
  readonly keyed: boolean
  readonly many: number
}[] = [
  { name: 'one message', type: Order, keyed: false, many: 1 },
  { name: 'one keyed message', type: Order, keyed: true, many: 1 },
  { name: 'three messages', type: Order, keyed: true, many: 3 },
  { name: 'a message with a waiting schema', type: SlowOrder, keyed: false, many: 1 },
  { name: 'three keyed messages with a waiting schema', type: SlowOrder, keyed: true, many: 3 },
]
