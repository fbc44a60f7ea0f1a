/** The database libraries, and the file of tests that runs programs on each. */

export interface Place {
  readonly name: string
  /** Below `test`. */
  readonly file: string
  /** Of the suite in that file; undefined: it has but one. */
  readonly suite?: string
}

const stores = 'user-code/stores.test.ts'
const onPostgres = (name: string, file: string): Place => ({
  name,
  file: `contract/session-${file}.test.ts`,
})
const onMysql = (name: string, file: string): Place => ({
  name: `${name} on MariaDB`,
  file: `contract/mysql-session-${file}.test.ts`,
})

export const places: readonly Place[] = [
  { name: 'pg', file: stores, suite: 'programs on pg ' },
  { name: 'pg one by one', file: stores, suite: 'programs on pg, one statement after the other' },
  { name: 'node:sqlite', file: stores, suite: 'by node:sqlite' },
  { name: 'better-sqlite3', file: stores, suite: 'by better-sqlite3' },
  { name: 'memory', file: stores, suite: 'programs on the memory store' },
  { name: 'mysql2', file: 'user-code/mysql.test.ts' },
  onPostgres('Drizzle', 'drizzle'),
  onPostgres('Drizzle 1.0', 'drizzle-rc'),
  onPostgres('Drizzle with postgres.js', 'drizzle-postgres-js'),
  onPostgres('Knex', 'knex'),
  onPostgres('Kysely', 'kysely'),
  onPostgres('MikroORM', 'mikro-orm'),
  onPostgres('PGlite', 'pglite'),
  onPostgres('postgres.js', 'postgres-js'),
  onPostgres('Prisma', 'prisma'),
  onPostgres('Sequelize', 'sequelize'),
  onPostgres('TypeORM', 'typeorm'),
  onMysql('Drizzle', 'drizzle'),
  onMysql('Knex', 'knex'),
  onMysql('Kysely', 'kysely'),
  onMysql('Prisma', 'prisma'),
  onMysql('TypeORM', 'typeorm'),
]

export function placeOf(name: string): Place {
  const place = places.find((one) => one.name === name)
  if (place === undefined) throw new Error(`no place is called '${name}'`)
  return place
}
