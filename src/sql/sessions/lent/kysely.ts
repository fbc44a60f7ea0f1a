import type { Dialect } from '../../units/statement-scan.ts'
import { type Lent, lendChecked } from './lent.ts'

interface Executing {
  getExecutor(): {
    provideConnection(consumer: (connection: object) => Promise<object>): Promise<object>
  }
}

/** With whatever plugins, in the end everything is sent by the connection. */
export async function lendKysely<Tx>(
  library: string,
  tx: Tx,
  dialect?: Dialect,
): Promise<Lent<Tx>> {
  const connection = await (tx as Executing)
    .getExecutor()
    .provideConnection((one) => Promise.resolve(one))
  const names = ['executeQuery', 'streamQuery']
  return lendChecked(library, tx, connection, names, { refusal: 'throws', dialect })
}
