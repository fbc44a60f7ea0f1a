import { checkNumber, checkOptions } from '../../core/options.ts'
import type { Session } from '../session.ts'
import type { Dialect } from '../units/statement-scan.ts'
import { type Gate, type Lent, checked, gate, textOf } from './lent/lent.ts'
import { checkLibrary, hasMethod, notATransaction, rowsOf, units } from './handles.ts'

/** What Prisma's interactive `$transaction` hands to its callback. Only the root has `$connect`. */
export interface PrismaTransaction {
  $queryRawUnsafe(text: string, ...values: never[]): PromiseLike<unknown>
}

/**
 * Prisma's code for a transaction that is over: committed, rolled back, or ended by its timeout.
 * Nothing was sent then.
 */
const TRANSACTION_OVER = 'P2028'

/**
 * Interactive transactions of Prisma 7: `postgres({ pool, session: prisma(client) })`, and so with
 * `mysql`. Prisma ends them after 5 s unless `timeout` (milliseconds) says otherwise, and waits 2 s
 * for a connection unless `maxWait` (milliseconds) does. An array of queries given to `$transaction`
 * has no handle, and so nothing that a message could join.
 */
export function prisma<Tx extends PrismaTransaction>(
  client: {
    $transaction<Result>(
      work: (tx: Tx) => Promise<Result>,
      options?: { maxWait?: number; timeout?: number },
    ): Promise<Result>
  },
  options: { readonly maxWait?: number; readonly timeout?: number } = {},
): Session<Tx> {
  checkLibrary('prisma()', client, ['$transaction'], 'the client of Prisma')
  checkOptions('prisma()', options, ['maxWait', 'timeout'])
  const ms = { default: 0, min: 0, max: 86_400_000 }
  checkNumber('prisma().maxWait', options.maxWait, ms)
  checkNumber('prisma().timeout', options.timeout, ms)
  const refused = (cause?: unknown): Error => {
    const error = notATransaction(
      'prisma',
      'give the `tx` that prisma.$transaction(async (tx) => ...) passes to its callback, before the transaction ends or its `timeout` is over',
    )
    if (cause !== undefined) error.cause = cause
    return error
  }
  const executor: Session<Tx>['executor'] = (tx) => {
    if (!hasMethod(tx, '$queryRawUnsafe') || '$connect' in tx) throw refused()
    return {
      async query(text, values = []) {
        try {
          return { rows: rowsOf(await tx.$queryRawUnsafe(text, ...(values as never[]))) }
        } catch (error) {
          throw (error as { code?: unknown } | null)?.code === TRANSACTION_OVER
            ? refused(error)
            : error
        }
      },
    }
  }
  return {
    name: 'prisma',
    executor,
    ...units('prisma', executor, (work) => client.$transaction(work, options), lendPrisma),
  }
}

const RAW: ReadonlySet<PropertyKey> = new Set([
  '$executeRaw',
  '$executeRawUnsafe',
  '$queryRaw',
  '$queryRawUnsafe',
  '$queryRawTyped',
])

function lendPrisma<Tx extends object>(tx: Tx, dialect?: Dialect): Lent<Tx> {
  const passing = gate('prisma', { dialect })
  const models = new Map<PropertyKey, object>()
  const lent = new Proxy(tx, {
    get(target, name) {
      const value: unknown = Reflect.get(target, name, target)
      if (typeof value === 'object' && value !== null && isModel(name)) {
        const model = models.get(name) ?? whileOpen(value, passing)
        models.set(name, model)
        return model
      }
      if (!RAW.has(name) || typeof value !== 'function') return value
      return (...given: unknown[]): unknown =>
        checked(passing, filledIn(given), () => Reflect.apply(value, target, given) as unknown)
    },
  })
  return { tx: lent, revoke: () => passing.revoke([]) }
}

const isModel = (name: PropertyKey): boolean => typeof name === 'string' && !/^[$_]/.test(name)

/** The methods of a model write no statement that ends a transaction. */
function whileOpen(model: object, passing: Gate): object {
  return new Proxy(model, {
    get(target, name) {
      const value: unknown = Reflect.get(target, name, target)
      if (typeof value !== 'function') return value
      return (...given: unknown[]): unknown =>
        checked(passing, undefined, () => Reflect.apply(value, target, given) as unknown)
    },
  })
}

/** The text with the pieces of SQL that a template may have among its values. */
function filledIn([first, ...values]: readonly unknown[]): unknown {
  if (!Array.isArray(first)) return first
  const pieces = values.map((value) => (isPiece(value) ? textOf(value) : undefined) ?? '?')
  return first.map((part, index) => `${String(part)}${pieces[index] ?? ''}`).join('')
}

/** Made by `Prisma.sql`, `Prisma.raw` and their like; every other value is sent as a parameter. */
function isPiece(value: unknown): boolean {
  return (
    typeof value === 'object' &&
    value !== null &&
    Array.isArray((value as { strings?: unknown }).strings)
  )
}
