import type { Session } from '../session.ts'
import { hasMethod, notATransaction, rowsOf, unitOfWork } from './handles.ts'

/** What Prisma's interactive `$transaction` hands to its callback. Only the root has `$connect`. */
export interface PrismaTransaction {
  $queryRawUnsafe(text: string, ...values: never[]): PromiseLike<unknown>
}

/**
 * Interactive transactions of Prisma 6 and 7: `postgres({ pool, session: prisma(client) })`. Prisma
 * ends them after 5 s unless `timeout` (milliseconds) says otherwise.
 */
export function prisma<Tx extends PrismaTransaction>(
  client: { $transaction<Result>(work: (tx: Tx) => Promise<Result>, options?: { maxWait?: number; timeout?: number }): Promise<Result> },
  options: { readonly maxWait?: number; readonly timeout?: number } = {},
): Session<Tx> {
  const executor: Session<Tx>['executor'] = (tx) => {
    if (!hasMethod(tx, '$queryRawUnsafe') || '$connect' in tx) {
      throw notATransaction('prisma', 'give the `tx` that prisma.$transaction(async (tx) => ...) passes to its callback')
    }
    return { query: async (text, values = []) => ({ rows: rowsOf(await tx.$queryRawUnsafe(text, ...(values as never[]))) }) }
  }
  return { name: 'prisma', executor, unitOfWork: unitOfWork('prisma', executor, (work) => client.$transaction(work, options)) }
}
