import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import type { ProofNumbers, ProofPlace } from '../../testing/proof.ts'
import { describeError } from '../../operate/describe-error.ts'
import { toError } from '../../lib/async/abort.ts'
import { clientOf } from '../clients.ts'
import type { LifePlan } from '../plan.ts'

type Query = ProofPlace['query']

/** The place of this process. */
export function placeOf({ file, folder, databaseUrl, brokerUrl }: LifePlan): ProofPlace {
  const server = databaseUrl.startsWith('sqlite:') ? undefined : queryOn(databaseUrl, file)
  const query: Query = async (sql, name) => {
    if (server !== undefined && name === undefined) return await server(sql)
    return queryFile(join(folder, name ?? 'app.db'), sql)
  }
  return { folder, databaseUrl, brokerUrl, query }
}

function queryFile(path: string, sql: string): readonly Readonly<Record<string, unknown>>[] {
  const database = new DatabaseSync(path, { timeout: 5000 })
  try {
    return database.prepare(sql).all()
  } finally {
    database.close()
  }
}

/** One connection of our own, opened when it is first needed. */
function queryOn(url: string, file: string): (sql: string) => ReturnType<Query> {
  let client: ReturnType<typeof clientOf> | undefined
  let before: Promise<unknown> = Promise.resolve()
  return (sql) => {
    const answer = before.then(
      async () => await (await (client ??= clientOf(url, file))).query(sql),
    )
    // One after the other; a failure belongs to whoever asked.
    before = answer.catch(() => undefined)
    return answer
  }
}

/** The numbers that the user's SQL or function finds. Throws if it finds something else. */
export async function numbersOf(
  what: 'rows' | 'effects',
  given: ProofNumbers,
  place: ProofPlace,
): Promise<readonly number[]> {
  let found: readonly unknown[]
  try {
    found =
      typeof given === 'function'
        ? await given(place)
        : (await place.query(given)).map((row) => Object.values(row)[0])
  } catch (thrown) {
    throw new Error(`${what}: ${describeError(toError(thrown))}`, { cause: thrown })
  }
  if (!Array.isArray(found)) throw new Error(`${what}: expected a list of numbers`)
  return found.map((value) => {
    // A function may answer the rows of a query as they are.
    const one: unknown =
      typeof value === 'object' && value !== null ? Object.values(value)[0] : value
    const number = typeof one === 'number' ? one : Number(String(one))
    if (!Number.isInteger(number) || number < 1)
      throw new Error(
        `${what}: expected the numbers that act() was given, and got '${String(one).slice(0, 60)}'`,
      )
    return number
  })
}
