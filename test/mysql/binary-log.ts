import { execFile } from 'node:child_process'
import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'

const execute = promisify(execFile)
const NAME = 'changes'

/** Settings of a server whose binary log is to be read. */
export const binaryLogSettings: readonly string[] = [
  `--log-bin=${NAME}`,
  '--server-id=1',
  '--binlog-format=ROW',
  '--sync-binlog=1',
]

/** A row that a committed transaction has added. */
export interface AddedRow {
  readonly table: string
  /** The columns by their places, from 1 on, as the log writes them; empty for null. */
  readonly values: ReadonlyMap<number, string>
}

/** The rows that one committed transaction has added to the tables that matter. */
export type AddedRows = readonly AddedRow[]

/**
 * What was committed in this database, in the order of the commits: told by the binary log, which a
 * program reads that is not ours. `data`: folder of the server.
 */
export async function committedRows(
  data: string,
  database: string,
  tables: readonly string[],
): Promise<AddedRows[]> {
  const files = readdirSync(data)
    .filter((name) => new RegExp(`^${NAME}\\.\\d+$`).test(name))
    .toSorted()
    .map((name) => join(data, name))
  const { stdout } = await execute(
    'mariadb-binlog',
    [
      '--base64-output=DECODE-ROWS',
      '--verbose',
      '--force-read',
      `--database=${database}`,
      ...files,
    ],
    { maxBuffer: 2 * 1024 * 1024 * 1024 },
  )
  return transactionsIn(stdout, database, tables)
}

function transactionsIn(text: string, database: string, tables: readonly string[]): AddedRows[] {
  const insert = new RegExp(`^### INSERT INTO \`${database}\`\\.\`(${tables.join('|')})\``)
  const transactions: AddedRows[] = []
  let open: AddedRow[] = []
  let values: Map<number, string> | undefined
  for (const line of text.split('\n')) {
    const [, table] = insert.exec(line) ?? []
    if (table !== undefined) open.push({ table, values: (values = new Map()) })
    else if (line.startsWith('### ') && !/^###\s+(?:@|SET)/.test(line)) values = undefined
    const [, place, value] = /^###\s+@(\d+)=(.*)$/.exec(line) ?? []
    if (place !== undefined && value !== undefined)
      values?.set(Number(place), value === 'NULL' ? '' : value.replace(/^'|'$/g, ''))
    if (/Xid = \d+|^COMMIT/.test(line) && open.length > 0) {
      transactions.push(open)
      open = []
    }
    if (line.startsWith('ROLLBACK')) open = []
  }
  return transactions
}
