import type { WorkerPlan } from '../plan.ts'
import type { Desk, DeskOptions } from './desk.ts'
import { mysqlDesk } from './mysql.ts'
import { postgresDesk } from './postgres.ts'

/** A desk of this road; what its transactions are, it alone knows. */
export function openDesk(plan: WorkerPlan, options: DeskOptions): Desk<unknown> {
  return plan.kind.database === 'mysql' ? mysqlDesk(plan, options) : postgresDesk(plan, options)
}
