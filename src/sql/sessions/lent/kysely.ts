import { type CheckedOptions, type Lent, lendChecked } from './lent.ts'

interface Executing {
  getExecutor(): {
    provideConnection(consumer: (connection: object) => Promise<object>): Promise<object>
  }
}

/** With whatever plugins, in the end everything is sent by the connection. */
export async function lendKysely<Tx>(
  library: string,
  tx: Tx,
  options: CheckedOptions = {},
): Promise<Lent<Tx>> {
  const connection = await (tx as Executing)
    .getExecutor()
    .provideConnection((one) => Promise.resolve(one))
  const sending = { target: connection, names: ['executeQuery', 'streamQuery'] }
  return lendChecked(library, tx, sending, { refusal: 'throws', ...options })
}
