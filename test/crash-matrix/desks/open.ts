import type { WorkerPlan } from '../plan.ts'
import type { Desk, DeskOptions } from './desk.ts'

/**
 * A desk of this road; what its transactions are, it alone knows. The client of the other database
 * is not loaded.
 */
export async function openDesk(plan: WorkerPlan, options: DeskOptions): Promise<Desk<unknown>> {
  if (plan.kind.database === 'mysql') {
    const { mysqlDesk } = await import('./mysql.ts')
    return mysqlDesk(plan, options)
  }
  const { postgresDesk } = await import('./postgres.ts')
  return postgresDesk(plan, options)
}
